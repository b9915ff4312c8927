"""What a study will cost, told before it starts."""

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from vision_attn.commands.train import train
from vision_attn.engine.run import Run
from vision_attn.report.study import Outcome
from vision_attn.study.plan import Plan, Training

TIMED = 20
"""Steps of a timing, of which the first half is left out."""


def cost(plan: Plan, mine: Sequence[Training], finished: Mapping[Path, Outcome]) -> str:
    """Say how many trainings and steps are left, and about how long these take.

    That is known from the finished trainings of each network, else from a short one.
    """
    study, budget = plan.study, plan.trainings[0].recipe.train
    left = {x: remaining(x) for x in mine if x.folder not in finished}
    lines = [
        f"{len(plan.trainings)} trainings of {budget.steps:,} steps of {budget.batch_size} images: "
        f"{len(study.starts)} networks and starts x {len(study.shares)} shares x "
        f"{len(study.seeds)} seeds"
    ]
    if len(mine) < len(plan.trainings):
        lines.append(f"this part: {len(mine)} of them")
    begun = sum(steps < budget.steps for steps in left.values())
    lines.append(
        f"finished: {len(mine) - len(left)}, half done: {begun}; "
        f"to go: {len(left)} trainings, {sum(left.values()):,} steps"
    )
    if not left:
        return "\n".join(lines)
    seconds = {}
    for network in dict.fromkeys(training.network for training in left):
        known = [x.seconds for x in finished.values() if x.network == network]
        seconds[network] = median(known) if known else timed(_first(plan, network))
        source = f"{len(known)} finished" if known else f"{TIMED} steps"
        lines.append(f"{network}: {seconds[network]:.0f} s a training, from {source}")
    total = sum(seconds[x.network] * steps / budget.steps for x, steps in left.items())
    lines.append(f"estimate: {total / 60:.0f} minutes")
    return "\n".join(lines)


def remaining(training: Training) -> int:
    """Count the steps that a training still has to take."""
    steps = training.recipe.train.steps
    if not (training.folder / "last.pt").exists():
        return steps
    return steps - max((line["step"] for line in Run.open(training.folder).metrics()), default=0)


def timed(training: Training) -> float:
    """Estimate the seconds of a whole training from a few of its steps; reads no test image.

    Raises ValueError if the data has no test split.
    """
    settings = training.recipe.train
    short = replace(
        settings,
        steps=TIMED,
        warmup=min(settings.warmup, TIMED - 1),
        log_every=TIMED // 2,
        evaluate_every=TIMED,
        save_every=TIMED,
    )
    with TemporaryDirectory() as folder:
        recipe = training.recipe.model_copy(update={"run": folder, "train": short})
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            data = train(recipe)
        wall = time.perf_counter() - began
        *_, trained, evaluated = Run.open(folder).metrics()
    if data.test is None:
        raise ValueError("a study needs a test split, got none; set settings.data.test_share")
    a_step = short.batch_size / trained["images_per_second"]
    evaluation = (evaluated["seconds"] - trained["seconds"]) * len(data.test) / len(data.valid)
    return wall + evaluation + (settings.steps - TIMED) * a_step


def _first(plan: Plan, network: str) -> Training:
    """Take the first training of a network, which starts from scratch."""
    return next(training for training in plan.trainings if training.network == network)
