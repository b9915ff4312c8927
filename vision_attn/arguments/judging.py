"""The commands that put numbers on a network."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, names, positive


def add_evaluate(commands: Any) -> None:
    """Offer `evaluate RUN [DATA...]`: judge a run's best weights on images, in a report."""
    parser = commands.add_parser("evaluate", help="judge a run's best weights on held-out images")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="other data than the run's own: image files, folders, quoted patterns, each image in "
        "a folder named like its class, or one RECIPE.yaml; and data.FIELD=VALUE, for data that "
        "has moved",
    )
    parser.add_argument(
        "--split", choices=("test", "valid"), help="default: test, or valid where there is no test"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the report (default: RUN/evaluation/SPLIT; for DATA .../on-NAME)",
    )
    parser.add_argument("--methods", type=names, help="explainers of mistakes, comma-separated")
    parser.add_argument(
        "--mistakes", type=positive, default=48, help="worst mistakes explained (default 48)"
    )
    parser.add_argument("--batch-size", type=positive, default=256, help="images (default 256)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.judging import examine

        options = vars(chosen).copy()
        words = options.pop("data")
        overrides = [word for word in words if re.match(r"[\w.]+=", word)]
        options["data"] = [word for word in words if word not in overrides]
        found = examine(options.pop("run"), *overrides, **options)
        for name, number in found.numbers.items():
            print(f"{found.judges} {name} = {number:.6g}")
        if found.report and found.left_out:
            listed = found.report.parent / "problems.jsonl"
            print(f"{found.left_out} images left out, listed in {listed}", file=sys.stderr)
        if found.report:
            print(f"report: {found.report}")

    parser.set_defaults(run_command=run)


def add_data(commands: Any) -> None:
    """Offer `data RECIPE`: what a recipe's data are, and which images are in two splits."""
    parser = commands.add_parser(
        "data", help="count a recipe's images and find those that are in two splits"
    )
    parser.add_argument("recipe", type=Path, help="recipe, or config.yaml of a run")
    parser.add_argument("overrides", nargs="*", metavar="data.FIELD=VALUE")
    parser.add_argument("--out", type=Path, help="folder of duplicates.csv and duplicates.png")

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.inspecting import inspect

        found = inspect(chosen.recipe, *chosen.overrides, out=chosen.out)
        print(found.text)
        for problem in found.problems:
            print(f"{problem.path}: {problem.reason}", file=sys.stderr)

    parser.set_defaults(run_command=run)


def add_compare(commands: Any) -> None:
    """Offer `compare RUN...`: networks side by side, and whether their maps are right."""
    parser = commands.add_parser(
        "compare", help="put runs side by side: numbers, maps or captions, scores"
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--methods", type=names, help="explainers, comma-separated")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--maps", type=positive, help="images explained (default 500)")
    add_device(parser)
    parser.add_argument(
        "--started", type=float, help="when the whole work began, in seconds since 1970"
    )

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands import compare

        report = compare(
            chosen.runs,
            chosen.out,
            methods=chosen.methods,
            split=chosen.split,
            maps=chosen.maps,
            device=chosen.device,
            started=chosen.started,
        )
        print(f"report: {report}")

    parser.set_defaults(run_command=run)


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
        from vision_attn.probe import probe

        options = vars(chosen).copy()
        numbers, remarks = probe(options.pop("source"), *options.pop("overrides"), **options)
        sys.stderr.writelines(f"{remark}\n" for remark in remarks)
        for name, number in numbers.items():
            print(f"{chosen.split} {name} = {number:.6g}")

    parser.set_defaults(run_command=run)
