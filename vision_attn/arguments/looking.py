"""The commands that show where a network looks, and what it says of any images."""

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
        from vision_attn.explaining.command import explain

        outcome = explain(**vars(chosen))
        for remark in outcome.remarks:
            print(remark, file=sys.stderr)
        if outcome.problems:
            listed = chosen.out / "problems.jsonl"
            print(f"{len(outcome.problems)} files left out, listed in {listed}", file=sys.stderr)
        print(f"{outcome.explained} images explained, {outcome.finished} had been before")
        print(f"report: {outcome.report}" if outcome.report else f"maps: {chosen.out}")

    parser.set_defaults(run_command=run)


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


def add_caption(commands: Any) -> None:
    """Offer `caption RUN SOURCE...`: captions of any images, and where each word looked."""
    parser = commands.add_parser("caption", help="caption images, with a map for every word")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a captioner")
    add_sources(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of figures and lines")
    parser.add_argument("--best", type=positive, default=1, help="captions an image (default 1)")
    parser.add_argument("--longest", type=positive, default=30, help="words (default 30)")
    parser.add_argument("--beams", type=positive, help="width of the search (default 5)")
    parser.add_argument("--penalty", type=float, help="length penalty of the search (default 0)")
    parser.add_argument("--draw", action="store_true", help="draw words instead of searching")
    parser.add_argument("--temperature", type=float, help="of the draw (default 1)")
    parser.add_argument("--top-k", type=positive, help="draw among so many words")
    parser.add_argument("--top-p", type=float, help="draw among the fewest words of this share")
    parser.add_argument("--seed", type=int, help="of the draw (default 0)")
    parser.add_argument("--batch-size", type=positive, default=16, help="images (default 16)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.explaining.captions import Captioned, caption

        found_by = way(chosen)
        places = {"limit": chosen.limit, "batch_size": chosen.batch_size, "device": chosen.device}
        for found in caption(chosen.run, chosen.sources, chosen.out, way=found_by, **places):
            if not isinstance(found, Captioned):
                print(f"{found.path}: {found.reason}", file=sys.stderr)
                continue
            for text, own in zip(found.texts, found.captions, strict=True):
                print(f"{found.image}: {text} ({own.log_prob:.2f})")
        print(f"captions: {chosen.out / 'captions.jsonl'}")
        if (page := chosen.out / "report.html").exists():
            print(f"report: {page}")

    parser.set_defaults(run_command=run)


def way(chosen: argparse.Namespace) -> Any:
    """Read how captions are to be found; ValueError for a setting of the other way."""
    from vision_attn.explaining.saying import Draws, Search

    given = {name: x for name, x in vars(chosen).items() if x is not None}
    searching = {name: given[name] for name in ("beams", "penalty") if name in given}
    drawing = {
        name: given[name] for name in ("temperature", "top_k", "top_p", "seed") if name in given
    }
    if wrong := searching if chosen.draw else drawing:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ValueError(f"{names}: {'not for --draw' if chosen.draw else 'only for --draw'}")
    both: Any = {"best": chosen.best, "longest": chosen.longest}
    return Draws(**both, **drawing) if chosen.draw else Search(**both, **searching)


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
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--images", type=positive, default=8, help="trails drawn (default 8)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands import glimpses

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
