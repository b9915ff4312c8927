"""What the commands do once their arguments are known."""

import json
from pathlib import Path

from vision_attn.data.loader import share
from vision_attn.engine.distributed import find
from vision_attn.engine.run import replace
from vision_attn.recipe import load_model, read


def evaluate(
    folder: Path, *overrides: str, split: str = "test", batch_size: int = 256, device: str = "auto"
) -> dict[str, float]:
    """Measure the best weights of a run on a split of its data, and keep the numbers beside them.

    `overrides` change the recipe, for data that has moved. Writes evaluation-SPLIT.json. Raises
    ValueError if the data's preprocessing is not the one the weights were trained with.
    """
    # The weights are those of the run, wherever it once started from.
    recipe = read(folder / "config.yaml", "init=null", *overrides)
    model, spec = load_model(folder)
    data = recipe.data.build()
    if data.spec != spec:
        raise ValueError(
            f"data must be prepared as in training, got {data.spec}, and the weights need {spec}"
        )
    task = recipe.task.build(model, spec).to(find(device).device)
    numbers = task.evaluate(share(getattr(data, split), batch_size, workers=recipe.data.workers))
    replace(folder / f"evaluation-{split}.json", json.dumps(numbers, indent=2) + "\n")
    return numbers
