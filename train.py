"""Train what a recipe says: python train.py configs/NAME.yaml [section.field=value ...]."""

from __future__ import annotations

import os
import shutil
import sys

from vision_attn.commands.train import train
from vision_attn.recipe import read, reference
from vision_attn.rules import foreseen

USAGE = """usage: python train.py RECIPE.yaml [section.field=value ...]
       torchrun --nproc-per-node=2 train.py RECIPE.yaml [section.field=value ...]
       python train.py --help      explains every setting"""


def main(arguments: list[str]) -> None:
    """Read a recipe and train; one that cannot work is refused before torch is imported."""
    if not arguments:
        sys.exit(refused(USAGE))
    if {"-h", "--help"} & set(arguments):
        width = shutil.get_terminal_size((100, 24)).columns
        print(f"{USAGE}\n\n{reference(width)}")
        return
    try:
        train(read(*arguments))
    except (ValueError, OSError, FloatingPointError) as error:
        if not foreseen(error):
            raise
        sys.exit(refused(error))


def refused(reason: object) -> int:
    """Say once why nothing was trained, and give the exit code for wrong usage."""
    if os.environ.get("RANK", "0") == "0":  # torchrun has every process come here
        print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main(sys.argv[1:])
