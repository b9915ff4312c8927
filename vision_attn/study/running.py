"""The trainings of a study, one after the other; those that are finished are not repeated."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vision_attn.commands.train import train
from vision_attn.data.loader import share
from vision_attn.engine.distributed import find
from vision_attn.engine.run import FREE, Run, flat, replace
from vision_attn.recorded import completed
from vision_attn.report.measure import train_seconds
from vision_attn.report.study import Outcome, study_report
from vision_attn.study.cost import cost
from vision_attn.study.plan import Plan, Training
from vision_attn.trained import load_model

RESULT = "study.json"
"""In the folder of a training; there once it is finished and its test split is measured."""


def study(
    plan: Plan, *, part: tuple[int, int] = (1, 1), plan_only: bool = False, command: str
) -> Path | None:
    """Tell what a study costs, carry out its trainings, and report on all that are finished.

    `part` (k, n) takes every nth training from the kth on. Gives the report, None if it is to be
    planned only. Raises ValueError if the folder holds trainings of other settings, or the data has
    no test split.
    """
    if "WORLD_SIZE" in os.environ:
        raise ValueError("a study runs on several cores by --part, not by torchrun")
    finished = outcomes(plan)
    mine = plan.trainings[part[0] - 1 :: part[1]]
    if not mine:
        raise ValueError(f"{len(plan.trainings)} trainings make fewer than {part[0]} parts")
    print(cost(plan, mine, finished), flush=True)
    if plan_only:
        return None
    for training in mine:
        if training.folder not in finished:
            carry_out(training)
    return study_report(list(outcomes(plan).values()), len(plan.trainings), plan.study.run, command)


def outcomes(plan: Plan) -> dict[Path, Outcome]:
    """Read what the finished trainings of a study found, by folder.

    Raises ValueError for one of other settings.
    """
    found = {}
    for training in plan.trainings:
        path = training.folder / RESULT
        if path.exists():
            kept = json.loads(path.read_text())
            _check_same(training, kept["recipe"])
            found[training.folder] = Outcome(**kept["outcome"])
    return found


def carry_out(training: Training) -> None:
    """Train from where it stopped, measure the test split, once, and keep what was found."""
    folder, recipe = training.folder, training.recipe
    earlier = train_seconds(Run.open(folder)) if (folder / "last.pt").exists() else 0.0
    began = time.perf_counter()
    data = train(recipe)
    if data.test is None:
        raise ValueError("a study needs a test split, got none; set settings.data.test_share")
    model, spec = load_model(folder)
    task = recipe.task.build(model, spec).to(find(recipe.train.device).device)
    numbers = task.evaluate(share(data.test, recipe.train.batch_size, workers=recipe.data.workers))
    outcome = Outcome(
        network=training.network,
        start=training.start,
        share=training.share,
        seed=training.seed,
        images=len(data.train),
        accuracy=numbers["accuracy"],
        test_images=int(numbers["images"]),
        steps=recipe.train.steps,
        batch_size=recipe.train.batch_size,
        seconds=(earlier or 0.0) + time.perf_counter() - began,
        run=str(folder),
    )
    kept = {"recipe": recipe.to_dict(), "outcome": asdict(outcome)}
    replace(folder / RESULT, json.dumps(kept, indent=2) + "\n")


def _check_same(training: Training, earlier: dict[str, Any]) -> None:
    """Raise ValueError if a finished training had other settings than the study asks for now."""
    then = dict(flat(completed(earlier, training.folder / RESULT)))
    now = dict(flat(training.recipe.to_dict()))
    fields = sorted((then.keys() | now.keys()) - FREE)
    differing = [
        f"{field} was {then.get(field)} and is {now.get(field)}"
        for field in fields
        if then.get(field) != now.get(field)
    ]
    if differing:
        raise ValueError(
            f"{training.folder} holds a training of other settings: {'; '.join(differing)}; choose "
            f"another run for the study, or delete that folder"
        )
