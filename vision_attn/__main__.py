"""The command line: arguments only. `vision-attn COMMAND --help` explains each command.

To add a command, write a function like `add_evaluate` and name it in `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_attn.rules import foreseen


def add_evaluate(commands: Any) -> None:
    """Offer `evaluate RUN`: measure a run's best weights on a split."""
    parser = commands.add_parser("evaluate", help="measure a run's best weights on the test split")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("overrides", nargs="*", metavar="data.FIELD=VALUE", help="for moved data")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--batch-size", type=positive, default=256, help="images (default 256)")
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands import evaluate

        numbers = evaluate(
            chosen.run,
            *chosen.overrides,
            split=chosen.split,
            batch_size=chosen.batch_size,
            device=chosen.device,
        )
        for name, number in numbers.items():
            print(f"{chosen.split} {name} = {number:.6g}")

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
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")
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


def add_explain(commands: Any) -> None:
    """Offer `explain MODEL SOURCE...`: where a network looks on any images, as maps and a page."""
    parser = commands.add_parser("explain", help="draw where a network looks, on any images")
    parser.add_argument("model", metavar="MODEL", help="run folder, or timm:NAME[@CHECKPOINT]")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image files, folders, quoted patterns, or one RECIPE.yaml: its test (else "
        "validation) images",
    )
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
    parser.add_argument("--limit", type=positive, help="take no more than the first images")
    parser.add_argument("--batch-size", type=positive, default=8, help="images (default 8)")
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")
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

        options = vars(chosen).copy()
        del options["run_command"]
        outcome = explain(**options)
        for remark in outcome.remarks:
            print(remark, file=sys.stderr)
        if outcome.problems:
            listed = chosen.out / "problems.jsonl"
            print(f"{len(outcome.problems)} files left out, listed in {listed}", file=sys.stderr)
        print(f"{outcome.explained} images explained, {outcome.finished} had been before")
        print(f"report: {outcome.report}" if outcome.report else f"maps: {chosen.out}")

    parser.set_defaults(run_command=run)


def add_caption(commands: Any) -> None:
    """Offer `caption RUN SOURCE...`: captions of any images, and where each word looked."""
    parser = commands.add_parser("caption", help="caption images, with a map for every word")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a captioner")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image files, folders, quoted patterns, or one RECIPE.yaml: its test (else "
        "validation) images",
    )
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
    parser.add_argument("--limit", type=positive, help="take no more than the first images")
    parser.add_argument("--batch-size", type=positive, default=16, help="images (default 16)")
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")

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
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")

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


COMMANDS = (add_caption, add_evaluate, add_compare, add_explain, add_glimpses)


def names(text: str) -> list[str]:
    """Read comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """Read a positive whole number."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 2 for what the user can mend, told in one line."""
    parser = argparse.ArgumentParser(
        prog="vision-attn", description="Train with train.py; look, measure and report with these."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run_command(chosen)
    except (ValueError, OSError) as error:
        if not foreseen(error):
            raise
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
