"""The arguments of `vision-attn predict`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, add_sources, positive


def add_predict(commands: Any) -> None:
    """Offer `predict MODEL SOURCE...`: the likeliest classes of any images, as a table."""
    parser = commands.add_parser("predict", help="write the likeliest classes of any images")
    parser.add_argument("model", metavar="MODEL", help="run folder, or timm:NAME[@CHECKPOINT]")
    add_sources(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="table: NAME.csv, NAME.jsonl or NAME.parquet"
    )
    parser.add_argument("--top-k", type=positive, help="classes an image (default 5)")
    parser.add_argument(
        "--saliency", metavar="METHOD", help="draw where was looked, into the folder NAME-saliency"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="images (default 64)")
    parser.add_argument(
        "--workers", type=positive, help="threads that decode (default: one a core, at most 16)"
    )
    add_device(parser)
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="take a timm network untrained; its name says so",
    )

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.explaining.predict import predict

        found = predict(**vars(chosen))
        if found.problems:
            print(f"{found.problems} files left out, listed in {found.listed}", file=sys.stderr)
        if found.finished:
            print(f"{found.finished} images had been predicted before a call was cut short")
        print(f"{found.images - found.problems} images predicted\ntable: {chosen.out}")

    parser.set_defaults(run_command=run)
