"""A training from its recipe to its last step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vision_attn.commands.starting import open_start, prepared, prepared_as_before, start_from
from vision_attn.recipe import Recipe, remarks
from vision_attn.recorded import open_run

if TYPE_CHECKING:
    from vision_attn.data.batch import Data
    from vision_attn.engine.run import Run


def train(recipe: Recipe) -> Data:
    """Build data, run, model and task, and fit; give the data.

    torchrun runs this in several processes.
    """
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
        recipe = prepared_as_before(recipe) if goes_on else prepared(recipe, start)
        data = recipe.data.build()
        run = Run.create(recipe.run, recipe.to_dict(), data.spec, reading=open_run)
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
        if place.leads:
            print(f"{run.folder}: best {summary(run, task.monitor)}")
        if data.problems:
            listed = run.folder / "problems.jsonl"
            say(f"inputs that could not be used: {len(data.problems)}; see {listed}")
    return data


def summary(run: Run, monitor: str) -> str:
    """Name the best evaluation of a run."""
    name = f"valid_{monitor}"
    return f"{name} {max(line[name] for line in run.metrics() if line.get(name) is not None):.4f}"
