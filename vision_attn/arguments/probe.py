"""The arguments of `vision-attn probe`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, positive


def add_probe(commands: Any) -> None:
    """Offer `probe RUN`: what features are worth to neighbours, or with few labels."""
    parser = commands.add_parser("probe", help="judge features by k-NN and few labels, untrained")
    parser.add_argument("source", type=Path, help="run folder, or a recipe with init=WEIGHTS")
    parser.add_argument("overrides", nargs="*", metavar="FIELD=VALUE", help="of the recipe")
    parser.add_argument("--neighbours", type=positive, default=20, help="that vote (default 20)")
    parser.add_argument("--shots", type=positive, default=10, help="images a class (default 10)")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--batch-size", type=positive, default=256, help="images (default 256)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.probe import probe

        options = vars(chosen).copy()
        numbers, remarks = probe(options.pop("source"), *options.pop("overrides"), **options)
        sys.stderr.writelines(f"{remark}\n" for remark in remarks)
        for name, number in numbers.items():
            print(f"{chosen.split} {name} = {number:.6g}")

    parser.set_defaults(run_command=run)
