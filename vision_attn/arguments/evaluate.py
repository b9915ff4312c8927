"""The arguments of `vision-attn evaluate`."""

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
        "a folder named like its class, or one RECIPE.yaml or TABLE.csv; and data.FIELD=VALUE, for "
        "data that has moved, or of captions task.FIELD=VALUE, for another search, whose report "
        "takes the place of the run's unless --out is given",
    )
    parser.add_argument(
        "--split", choices=("test", "valid"), help="default: test, or valid where there is no test"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the report (default: RUN/evaluation/SPLIT; for DATA .../on-NAME)",
    )
    parser.add_argument(
        "--methods", type=names, help="of labels: explainers of mistakes, comma-separated"
    )
    parser.add_argument(
        "--mistakes", type=positive, help="of labels: worst mistakes explained (default 48)"
    )
    parser.add_argument("--batch-size", type=positive, default=256, help="images (default 256)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.evaluate import evaluate

        options = vars(chosen).copy()
        words = options.pop("data")
        overrides = [word for word in words if re.match(r"[\w.]+=", word)]
        options["data"] = [word for word in words if word not in overrides]
        found = evaluate(options.pop("run"), *overrides, **options)
        for name, number in found.numbers.items():
            print(f"{found.judges} {name} = {number:.6g}")
        if found.report and found.left_out:
            listed = found.report.parent / "problems.jsonl"
            print(f"{found.left_out} images left out, listed in {listed}", file=sys.stderr)
        if found.report:
            print(f"report: {found.report}")

    parser.set_defaults(run_command=run)
