"""The arguments of `vision-attn data`."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_data(commands: Any) -> None:
    """Offer `data RECIPE`: what a recipe's data are, and which images are in two splits."""
    parser = commands.add_parser(
        "data", help="count a recipe's images and find those that are in two splits"
    )
    parser.add_argument("recipe", type=Path, help="recipe, or config.yaml of a run")
    parser.add_argument("overrides", nargs="*", metavar="data.FIELD=VALUE")
    parser.add_argument("--out", type=Path, help="folder of duplicates.csv and duplicates.png")

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.data import inspect

        found = inspect(chosen.recipe, *chosen.overrides, out=chosen.out)
        print(found.text)
        for problem in found.problems:
            print(f"{problem.path}: {problem.reason}", file=sys.stderr)

    parser.set_defaults(run_command=run)
