"""The arguments of `vision-attn export`."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_export(commands: Any) -> None:
    """Offer `export RUN`: a run's best weights in the format of another library."""
    parser = commands.add_parser("export", help="write a run's weights for another library")
    parser.add_argument("run", type=Path, help="run folder of a ViT or ResNet that tells labels")
    parser.add_argument(
        "--to",
        type=target,
        metavar="FORMAT",
        required=True,
        help="timm, hf (transformers), jax (.npz), torchvision: weights by that library's names; "
        "onnx, torch-export: a graph that runs without any of them",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of weights and README.md")
    parser.add_argument(
        "--push", metavar="ORG/NAME", help="upload the folder to the Hugging Face hub, too"
    )

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.commands.export import export

        done = export(chosen.run, chosen.to, chosen.out, push=chosen.push)
        if done.difference is None:
            print(
                f"not opened again: {done.library} is not installed; pip install {done.library}",
                file=sys.stderr,
            )
        else:
            print(f"opened again by {done.library}: logits differ by {done.difference:.1e}")
        for path in done.paths:
            print(path)
        if done.address:
            print(f"pushed to {done.address}")

    parser.set_defaults(run_command=run)


def target(text: str) -> str:
    """Read the name of a format."""
    from vision_attn.formats.targets import TARGETS  # imports torch, which parsing must not

    if text not in TARGETS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(TARGETS)}, got {text}")
    return text
