"""The arguments of `vision-attn caption`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vision_attn.arguments.kinds import add_device, add_sources, positive


def add_caption(commands: Any) -> None:
    """Offer `caption RUN SOURCE...`: captions of any images, and where each word looked."""
    parser = commands.add_parser("caption", help="caption images, with a map for every word")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a captioner")
    add_sources(parser)
    parser.add_argument(
        "--out", type=Path, help="folder of figures and lines (default: RUN/captions)"
    )
    parser.add_argument("--best", type=positive, default=1, help="captions an image (default 1)")
    own = "default: that of the run's evaluations"
    parser.add_argument("--longest", type=positive, help=f"words ({own})")
    parser.add_argument("--beams", type=positive, help=f"width of the search ({own}, or --best)")
    parser.add_argument("--penalty", type=float, help=f"length penalty of the search ({own})")
    parser.add_argument(
        "--draw",
        action="store_true",
        help="draw words, and where hard looks and glimpses go, instead of searching",
    )
    parser.add_argument("--temperature", type=float, help="of the draw (default 1)")
    parser.add_argument("--top-k", type=positive, help="draw among so many words")
    parser.add_argument("--top-p", type=float, help="draw among the fewest words of this share")
    parser.add_argument("--seed", type=int, help="of the draw (default 0)")
    parser.add_argument("--batch-size", type=positive, default=16, help="images (default 16)")
    add_device(parser)

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.explaining.captions import Captioned, caption

        found_by, out = way(chosen), chosen.out or chosen.run / "captions"
        places = {"limit": chosen.limit, "batch_size": chosen.batch_size, "device": chosen.device}
        for found in caption(chosen.run, chosen.sources, out, way=found_by, **places):
            if not isinstance(found, Captioned):
                print(f"{found.path}: {found.reason}", file=sys.stderr)
                continue
            for text, own in zip(found.texts, found.captions, strict=True):
                print(f"{found.image}: {text} ({own.log_prob:.2f})")
        print(f"captions: {out / 'captions.jsonl'}")
        if (page := out / "report.html").exists():
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
