"""Numbers of a comparison: how well networks see, what they cost, whether their maps are right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm import tqdm

from vision_attn.data.batch import Labelled
from vision_attn.engine.run import Run
from vision_attn.explain.contract import Explainer, Images, Targets
from vision_attn.explain.faithfulness import deletion
from vision_attn.explain.localisation import energy_in_mask, pointing_game
from vision_attn.explain.maps import is_flat
from vision_attn.explain.methods import BASELINES, METHODS, settings
from vision_attn.report.cost import Speed, at_rest, flops, parameters, speeds
from vision_attn.report.figures import Curve
from vision_attn.report.interval import Estimate, estimate, share
from vision_attn.spec import Spec


@dataclass(frozen=True)
class Subject:
    """A trained network that is compared: its run and what explains it."""

    name: str
    """In tables and files: vit, resnet, or the name of the run's folder."""
    run: Run
    model: nn.Module
    """An `Explainable`, on the device where it is to be measured."""
    methods: tuple[str, ...] = ("grad_cam",)
    """Names out of `METHODS`."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.methods if name not in METHODS]:
            raise ValueError(f"methods must be among {', '.join(METHODS)}, got {unknown}")

    @property
    def device(self) -> torch.device:
        """Say where the model is."""
        return next(self.model.parameters()).device


@dataclass(frozen=True)
class Evidence:
    """Held-out images that a subject is asked about, prepared as in its training."""

    batches: Iterable[Labelled]
    """The whole split, for accuracy."""
    images: Images
    """Those whose maps are scored."""
    labels: Targets
    masks: Bool[Tensor, "batch height width"] | None = None
    """The object that the label names; None where it is not known."""


@dataclass(frozen=True)
class Numbers:
    """All that was measured of one subject."""

    accuracy: Estimate
    parameters: int
    flops: int
    """Of one image, forward."""
    train_seconds: float | None
    """None where the run was never logged."""
    speed: Speed
    maps: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """Scores by method, baselines among them."""
    flat: dict[str, int] = field(default_factory=dict)
    """By method, how many maps are the same everywhere and so say nothing."""

    def to_dict(self) -> dict[str, Any]:
        """Give plain numbers for JSON: every estimate flat, its interval beside it."""
        return {
            **_flat("accuracy", self.accuracy),
            "images": self.accuracy.images,
            "parameters": self.parameters,
            "flops": self.flops,
            "train_seconds": self.train_seconds,
            "images_per_second": self.speed.median,
            "images_per_second_range": [self.speed.low, self.speed.high],
            "maps": {
                method: _scores(scores) | {"flat_maps": self.flat[method]}
                for method, scores in self.maps.items()
            },
        }


def _flat(name: str, number: Estimate) -> dict[str, Any]:
    return {name: number.value, f"{name}_interval": [number.low, number.high]}


def _scores(scores: dict[str, Estimate]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, number in scores.items():
        flat |= _flat(name, number) | {"images": number.images}
    return flat


def measure(
    subjects: Sequence[Subject],
    evidence: Sequence[Evidence],
    *,
    seed: int = 0,
    batch_size: int = 64,
) -> dict[str, Numbers]:
    """Measure every subject on the same images; `seed` draws the bootstrap samples.

    `evidence` is these images prepared for each subject. Maps explain the true class, not the
    predicted one. Raises ValueError if the subjects know other names than each other.
    """
    check_alike(subjects)
    check_same(evidence)
    samples = {
        subject.name: own.images[:batch_size].to(subject.device)
        for subject, own in zip(subjects, evidence, strict=True)
    }
    rates = speeds({subject.name: subject.model for subject in subjects}, samples)
    found = {}
    for subject, own in zip(subjects, evidence, strict=True):
        scores = score_maps(subject, own, batch_size)
        flat = {method: int(values.pop("flat").sum()) for method, values in scores.items()}
        found[subject.name] = Numbers(
            accuracy=accuracy(subject, own.batches),
            parameters=parameters(subject.model),
            flops=flops(subject.model, samples[subject.name]),
            train_seconds=train_seconds(subject.run),
            speed=rates[subject.name],
            maps={method: _estimates(values, seed) for method, values in scores.items()},
            flat=flat,
        )
    return found


def _estimates(values: dict[str, Tensor], seed: int) -> dict[str, Estimate]:
    return {
        name: estimate(scores, torch.Generator().manual_seed(seed))
        for name, scores in values.items()
    }


def check_alike(subjects: Sequence[Subject]) -> None:
    """Raise ValueError unless all subjects can be asked about one set of images."""
    names = [subject.name for subject in subjects]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a comparison needs subjects of different names, got {names}")
    devices = {str(subject.device) for subject in subjects}
    if len(devices) > 1:
        raise ValueError(f"subjects must be on one device, got {sorted(devices)}")
    for subject in subjects[1:]:
        if differing := _differing(subjects[0], subject):
            raise ValueError(
                f"subjects must tell the same classes, got {'; '.join(differing)}; "
                f"`vision-attn evaluate` judges each by its own images"
            )


def check_same(evidence: Sequence[Evidence]) -> None:
    """Raise ValueError unless subjects are shown as many images, labelled alike."""
    if len({tuple(own.labels.tolist()) for own in evidence}) > 1:
        counts = [len(own.labels) for own in evidence]
        raise ValueError(
            f"subjects must be shown the same images, got {counts} images whose labels differ"
        )


def _differing(one: Subject, other: Subject) -> list[str]:
    """Name the fields in which the answers of two subjects differ, with both values."""
    specs = one.run.spec, other.run.spec
    pairs = {name: tuple(getattr(spec, name) for spec in specs) for name in ("names", "several")}
    if pairs["names"][0] != pairs["names"][1]:
        pairs["names"] = _first_apart(*pairs["names"])
    return [
        f"{field}={first} of {one.name} and {second} of {other.name}"
        for field, (first, second) in pairs.items()
        if first != second
    ]


def _first_apart(some: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Give the first class in which two lists differ, or their lengths."""
    pairs = zip(some, others, strict=False)
    counts = f"{len(some)} classes", f"{len(others)} classes"
    return next((pair for pair in pairs if len(set(pair)) > 1), counts)


def accuracy(subject: Subject, batches: Iterable[Labelled]) -> Estimate:
    """Count right answers over a whole split."""
    hits = images = 0
    with at_rest(subject.model):
        for batch in batches:
            answers = subject.model(batch.images.to(subject.device)).argmax(-1)
            hits += int((answers.cpu() == batch.labels).sum())
            images += len(batch.labels)
    return share(hits, images)


def score_maps(
    subject: Subject, evidence: Evidence, batch_size: int = 64
) -> dict[str, dict[str, Float[Tensor, " image"]]]:
    """Score every method's and baseline's map of every image; `flat` is 1 for a constant map."""
    explainers = {name: METHODS[name] for name in subject.methods} | BASELINES
    batches = range(0, len(evidence.images), batch_size)
    scores = {}
    with tqdm(total=len(explainers) * len(batches), desc=subject.name, leave=False) as bar:
        for name, explainer in explainers.items():
            found: list[dict[str, Tensor]] = []
            for start in batches:
                chosen = slice(start, start + batch_size)
                found.append(_score(subject, evidence, explainer, chosen))
                bar.update()
            scores[name] = {key: torch.cat([part[key] for part in found]) for key in found[0]}
    return scores


def _score(
    subject: Subject, evidence: Evidence, explainer: Explainer, chosen: slice
) -> dict[str, Float[Tensor, " batch"]]:
    model: Any = subject.model
    images = evidence.images[chosen].to(subject.device)
    labels = evidence.labels[chosen].to(subject.device)
    maps = explainer(model, images, labels)
    scores = {"flat": is_flat(maps).float()}
    if evidence.masks is not None:
        masks = evidence.masks[chosen].to(subject.device)
        scores["pointing_game"] = pointing_game(maps, masks)
        scores["energy"] = energy_in_mask(maps, masks)
    scores["deletion"] = deletion(model, images, labels, maps)
    return {name: values.cpu() for name, values in scores.items()}


def train_seconds(run: Run) -> float | None:
    """Read how long a run trained, evaluations and checkpoints left out."""
    seconds = [line["seconds"] for line in run.metrics() if line.get("seconds") is not None]
    return seconds[-1] if seconds else None


def curve(subject: Subject) -> Curve:
    """Read validation accuracy over time; empty for a run that was never evaluated."""
    lines = [x for x in subject.run.metrics() if x.get("valid_accuracy") is not None]
    columns = ([x[key] for x in lines] for key in ("step", "seconds", "valid_accuracy"))
    return Curve(subject.name, *columns)


def conditions(
    subjects: Sequence[Subject], evidence: Sequence[Evidence], *, seed: int
) -> dict[str, Any]:
    """List what the numbers depend on: machine, images and the settings of methods and scores."""
    methods = dict.fromkeys(name for subject in subjects for name in subject.methods)
    explainers = {name: METHODS[name] for name in methods} | BASELINES
    found = {
        "device": str(subjects[0].device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "target": "the true class",
        "views": {subject.name: _view(subject.run.spec) for subject in subjects},
        "map_images": len(evidence[0].images),
        "seed": seed,
        "methods": {name: settings(explainer) for name, explainer in explainers.items()},
        "deletion": settings(deletion) | {"reads": "softmax probability"},
    }
    masks = [own.masks.double().mean().item() for own in evidence if own.masks is not None]
    if masks:
        found["mask_share"] = mean(masks)
        found["pointing_game"] = settings(pointing_game)
    return found


def _view(spec: Spec) -> dict[str, Any]:
    """Say how images are prepared."""
    return {name: x for name, x in spec.to_dict().items() if name not in ("names", "several")}
