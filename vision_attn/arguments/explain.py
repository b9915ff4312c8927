"""The arguments of `vision-attn explain`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, add_sources, names, positive


def add_explain(commands: Any) -> None:
    """Offer `explain MODEL SOURCE...`: where a network looks on any images, as maps and a page."""
    parser = commands.add_parser("explain", help="draw where a network looks, on any images")
    parser.add_argument("model", metavar="MODEL", help="run folder, or timm:NAME[@CHECKPOINT]")
    add_sources(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of maps and report.html")
    parser.add_argument(
        "--against", metavar="MODEL", help="a second network, side by side on the same crops"
    )
    parser.add_argument(
        "--methods",
        type=names,
        help="explainers, comma-separated, or all that are defined (default: the usual ones)",
    )
    parser.add_argument(
        "--targets",
        type=names,
        default=["predicted"],
        help="predicted (by each network), label, class names or numbers, comma-separated",
    )
    parser.add_argument(
        "--top-k", type=positive, default=1, help="predicted classes explained (default 1)"
    )
    parser.add_argument(
        "--scores",
        type=names,
        default=[],
        help="measure maps, and maps that know nothing, by deletion, insertion, ..., or where "
        "objects are known by pointing_game, mask_iou, ...; table in scores.md",
    )
    parser.add_argument(
        "--masks", type=Path, help="where the objects of image files are: annotations as in COCO"
    )
    parser.add_argument("--batch-size", type=positive, default=8, help="images (default 8)")
    add_device(parser)
    parser.add_argument(
        "--formats",
        type=names,
        default=["overlays", "grids", "page"],
        help="what to draw of new images beside raw maps: overlays,grids,page (default: all)",
    )
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="take timm networks untrained; every output says so",
    )

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.explaining.explain import explain

        outcome = explain(**vars(chosen))
        for remark in outcome.remarks:
            print(remark, file=sys.stderr)
        if outcome.problems:
            listed = chosen.out / "problems.jsonl"
            print(f"{len(outcome.problems)} files left out, listed in {listed}", file=sys.stderr)
        print(f"{outcome.explained} images explained, {outcome.finished} had been before")
        print(f"report: {outcome.report}" if outcome.report else f"maps: {chosen.out}")

    parser.set_defaults(run_command=run)
