"""The arguments of `vision-attn compare`."""

import argparse
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, names, positive


def add_compare(commands: Any) -> None:
    """Offer `compare RUN...`: networks side by side, and whether their maps are right."""
    parser = commands.add_parser(
        "compare", help="put runs side by side: numbers, maps or captions, scores"
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument(
        "--methods",
        type=names,
        help="explainers that suit every run, comma-separated (default: each network's usual ones)",
    )
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--maps", type=positive, help="images explained (default 500)")
    add_device(parser)
    parser.add_argument(
        "--started", type=float, help="when the whole work began, in seconds since 1970"
    )

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.compare import compare

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
