"""The arguments of `vision-attn glimpses`."""

import argparse
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, positive


def add_glimpses(commands: Any) -> None:
    """Offer `glimpses RUN`: where a moving eye goes, and what each glimpse is worth."""
    parser = commands.add_parser(
        "glimpses", help="draw where a moving eye goes, and what each glimpse is worth"
    )
    parser.add_argument("run", type=Path, help="run folder of a model.name=glimpse")
    parser.add_argument("--out", type=Path, help="folder of the report (default: RUN/glimpses)")
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="a run on the same data that sees the whole image; may be given several times",
    )
    parser.add_argument(
        "--split", choices=("test", "valid"), help="default: test, or valid where there is no test"
    )
    parser.add_argument("--images", type=positive, default=8, help="trails drawn (default 8)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.glimpses import glimpses

        report = glimpses(
            chosen.run,
            chosen.out,
            against=chosen.against,
            split=chosen.split,
            images=chosen.images,
            device=chosen.device,
        )
        print(f"report: {report}")

    parser.set_defaults(run_command=run)
