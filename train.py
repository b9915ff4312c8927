"""Train what a recipe says: python train.py configs/NAME.yaml [section.field=value ...]."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vision_attn.recipe import Recipe, read, reference, remarks
from vision_attn.rules import foreseen
from vision_attn.starting import open_start, prepared, start_from

if TYPE_CHECKING:
    from vision_attn.engine.run import Run

USAGE = """usage: python train.py RECIPE.yaml [section.field=value ...]
       torchrun --nproc-per-node=2 train.py RECIPE.yaml [section.field=value ...]
       python train.py --help      explains every setting"""


def main(arguments: list[str]) -> None:
    """Read a recipe and train; one that cannot work is refused before torch is imported."""
    if not arguments:
        sys.exit(refused(USAGE))
    if {"-h", "--help"} & set(arguments):
        width = shutil.get_terminal_size((100, 24)).columns
        return print(f"{USAGE}\n\n{reference(width)}")
    try:
        return train(read(*arguments))
    except (ValueError, OSError, FloatingPointError) as error:
        if not foreseen(error):
            raise
        sys.exit(refused(error))


def train(recipe: Recipe) -> None:
    """Build data, run, model and task, and fit; torchrun runs this in several processes."""
    import torch

    from vision_attn.data.division import keep_division
    from vision_attn.data.loader import Loader, share
    from vision_attn.engine.distributed import joined
    from vision_attn.engine.loop import fit
    from vision_attn.engine.run import Run

    with joined(recipe.train.device) as place:
        say = print if place.leads else lambda *_: None
        goes_on = Path(recipe.run, "last.pt").exists()
        start = None if goes_on else open_start(recipe.init)
        recipe = prepared(recipe, start)
        data = recipe.data.build()
        run = Run.create(recipe.run, recipe.to_dict(), data.spec)
        run.write_problems(data.problems)
        if place.leads:
            keep_division(run.folder, data, fresh=not goes_on)
        torch.manual_seed(recipe.seed)
        model = recipe.model.build(data.spec)
        fitted = start_from(model, start)
        tuned = recipe.tune.apply(model)
        for line in (*remarks(recipe), *data.remarks, *fitted, *tuned):
            say(line)
        task = recipe.task.build(model, data.spec)
        task.meet(data.train)

        ranks = {"rank": place.rank, "world": place.world, "workers": recipe.data.workers}
        batch_size = recipe.train.batch_size
        balanced = recipe.train.balanced
        batches = Loader(data.train, batch_size, seed=recipe.seed, balanced=balanced, **ranks)
        valid = share(data.valid, batch_size // place.world, **ranks)
        fit(task, batches, valid, recipe.train, run, recipe.seed)
        if not place.leads:
            return
        print(f"{run.folder}: best {summary(run, task.monitor)}")
        if data.problems:
            listed = run.folder / "problems.jsonl"
            print(f"inputs that could not be used: {len(data.problems)}; see {listed}")


def summary(run: Run, monitor: str) -> str:
    """Name the best evaluation of a run."""
    name = f"valid_{monitor}"
    return f"{name} {max(line[name] for line in run.metrics() if line.get(name) is not None):.4f}"


def refused(reason: object) -> int:
    """Say once why nothing was trained, and give the exit code for wrong usage."""
    if os.environ.get("RANK", "0") == "0":  # torchrun has every process come here
        print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main(sys.argv[1:])
