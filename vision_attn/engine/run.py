"""A run is a folder: its recipe, what the data promised, what was measured, and the weights."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from vision_attn.engine.atomic import whole
from vision_attn.engine.distributed import leads
from vision_attn.spec import Spec

TIMING = frozenset({"seconds", "images_per_second"})
"""Keys of metrics.jsonl that differ between two runs of the same recipe; all others agree."""
FREE = frozenset(
    {
        "run",
        "data.workers",
        "data.check",
        "train.log_every",
        "train.save_every",
        "train.wandb",
        "train.tensorboard",
    }
)
"""Fields of a recipe that may change when a run is resumed, for they cannot change its weights."""


class Mirror(Protocol):
    """A second place for the metrics."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Take one line."""


class Run:
    """Keep a run's files; `metrics.jsonl` is the truth, and mirrors repeat it.

    With several ranks only rank 0 writes.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any], spec: Spec):
        self.folder, self.recipe, self.spec = folder, recipe, spec
        self.mirrors: list[Mirror] = []

    @classmethod
    def create(
        cls,
        path: Path | str,
        recipe: dict[str, Any],
        spec: Spec,
        *,
        reading: Callable[[Path], "Run"] | None = None,
    ) -> "Run":
        """Start a run in a folder, or go on with the one of the same recipe that is there.

        The recipe is stored as JSON, which is YAML too. `reading` opens the run that is there, by
        default word for word. Raises ValueError naming what differs if it is one of another recipe
        or of other data, and has begun to train.
        """
        run = cls(Path(path), json.loads(json.dumps(recipe)), spec)
        if leads():
            if run._config.exists() and (run.lines or run.last.exists()):
                run._check_same((reading or cls.open)(run.folder))
            run.folder.mkdir(parents=True, exist_ok=True)
            replace(run._config, json.dumps(run.recipe, indent=2) + "\n")
            replace(run.folder / "spec.json", json.dumps(spec.to_dict(), indent=2) + "\n")
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Read the run in a folder; raises ValueError if there is none."""
        folder = Path(path)
        try:
            recipe = json.loads((folder / "config.yaml").read_text())
            spec = Spec.from_dict(json.loads((folder / "spec.json").read_text()))
        except FileNotFoundError as error:
            raise ValueError(f"{folder} is no run folder: {error.filename} is missing") from error
        return cls(folder, recipe, spec)

    @property
    def last(self) -> Path:
        """Where the latest checkpoint is: all that resuming needs."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """Where the best weights are, of the model only."""
        return self.folder / "best.safetensors"

    @property
    def _config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def log(self, step: int, **numbers: float) -> None:
        """Append a line to the metrics; what is not finite becomes null."""
        if not leads():
            return
        line = {"step": step} | {k: v if math.isfinite(v) else None for k, v in numbers.items()}
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for mirror in self.mirrors:
            mirror.log(step, numbers)

    def metrics(self) -> list[dict[str, Any]]:
        """Read all lines of the metrics; one that a kill cut short is left out."""
        if not self._metrics.exists():
            return []
        return [json.loads(line) for line in self._metrics.read_text().split("\n")[:-1]]

    @property
    def lines(self) -> int:
        """Count the lines of the metrics."""
        return self._metrics.read_bytes().count(b"\n") if self._metrics.exists() else 0

    def cut_metrics(self, lines: int) -> None:
        """Forget all but the first lines of the metrics: what a killed run did after its save."""
        if leads() and self._metrics.exists():
            kept = self._metrics.read_text().split("\n")[:-1][:lines]
            replace(self._metrics, "".join(line + "\n" for line in kept))

    def write_problems(self, problems: Iterable[Any]) -> None:
        """List inputs that could not be used in `problems.jsonl`, one NamedTuple a line."""
        if leads():
            lines = (json.dumps(problem._asdict()) + "\n" for problem in problems)
            replace(self.folder / "problems.jsonl", "".join(lines))

    def _check_same(self, earlier: "Run") -> None:
        mine, theirs = dict(flat(self.recipe)), dict(flat(earlier.recipe))
        fields = sorted((mine.keys() | theirs.keys()) - FREE)
        differing = [
            f"{field} was {theirs.get(field)} and is {mine.get(field)}"
            for field in fields
            if mine.get(field) != theirs.get(field)
        ]
        if earlier.spec != self.spec:
            differing.append("the data's specification (spec.json) changed")
        if differing:
            raise ValueError(
                f"{self.folder} holds a run of another recipe: {'; '.join(differing)}; choose "
                f"another run folder (init={self.folder} starts it from these weights), or delete "
                f"this one"
            )


def flat(entries: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give (dotted name, value) of all fields below a dict."""
    for key, value in entries.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def fresh(folder: Path, name: str) -> Path | None:
    """Find what an evaluation kept in a run folder, if it judged the weights that are there now."""
    path, weights = folder / name, folder / "best.safetensors"
    if path.exists() and path.stat().st_mtime >= weights.stat().st_mtime:
        return path
    return None


def replace(path: Path, text: str) -> None:
    """Write a small text file."""
    with whole(path) as file:
        file.write(text.encode())
