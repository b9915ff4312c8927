"""What the numbers of a comparison say, in sentences computed from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from vision_attn.explain.methods import BASELINES
from vision_attn.report.figures import LOWER, title
from vision_attn.report.interval import RESAMPLES
from vision_attn.report.measure import Numbers

Measured: TypeAlias = Mapping[str, Numbers]


def findings(numbers: Measured) -> str:
    """Say who sees better, what it took, and whose maps point at the object."""
    return " ".join([_seeing(numbers), *_taking(numbers), *_pointing(numbers)])


def notes(numbers: Measured, conditions: Mapping[str, Any]) -> list[str]:
    """List what limits the numbers, and the settings they were measured with."""
    return [
        f"Intervals are 95 %: Wilson for shares, bootstrap ({RESAMPLES:,} resamples, seed "
        f"{conditions['seed']}) for means. They cover the choice of images, not that of the "
        f"training seed: each network was trained once.",
        *_unproven(numbers),
        *_silent(numbers),
        *_views(conditions),
        *_coverage(conditions),
        _removal(**conditions["deletion"]),
        f"Maps explain {conditions['target']}. Settings: "
        + "; ".join(_setting(*entry) for entry in conditions["methods"].items())
        + ".",
    ]


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.1f} %"


def _seeing(numbers: Measured) -> str:
    ranked = sorted(numbers, key=lambda name: -numbers[name].accuracy.value)
    first = numbers[ranked[0]].accuracy
    shares = [
        f"the {title(name)} {'in' if name != ranked[0] else 'is right in'} "
        f"{percent(numbers[name].accuracy.value)}"
        for name in ranked
    ]
    sentence = f"On {first.images:,} held-out images {_listed(shares)}"
    if len(ranked) == 1:
        return f"{sentence}."
    if first.overlaps(numbers[ranked[1]].accuracy):
        return f"{sentence}: too close to call, since the 95 % intervals overlap."
    return f"{sentence}: a clear lead, since the 95 % intervals do not overlap."


def _taking(numbers: Measured) -> Iterator[str]:
    times = {name: x.train_seconds for name, x in numbers.items() if x.train_seconds is not None}
    if len(times) == len(numbers):
        ranked = sorted(times, key=times.__getitem__)
        parts = [f"{times[name]:,.0f} s for the {title(name)}" for name in ranked]
        yield f"Training took {_listed(parts)}."


def _pointing(numbers: Measured) -> Iterator[str]:
    parts, chances = [], []
    for name, measured in numbers.items():
        scores = {m: s["pointing_game"] for m, s in measured.maps.items() if "pointing_game" in s}
        own = [method for method in scores if method not in BASELINES]
        if own:
            best = max(own, key=lambda method: scores[method].value)
            parts.append((f"{title(best)} for the {title(name)}", percent(scores[best].value)))
            known = (f"{percent(scores[x].value)} for the {title(x)} map" for x in BASELINES)
            chances.append(f"against {_listed(list(known))}")
    said = "The map that most often peaks inside the object is"
    if len(set(chances)) == 1:
        listed = [f"{x} ({share})" for x, share in parts]
        yield f"{said} {_listed(listed)}, {chances[0]}, which know nothing."
    elif chances:  # each in its own view of the images
        listed = [f"{x} ({share}, {own})" for (x, share), own in zip(parts, chances, strict=True)]
        yield f"{said} {_listed(listed)}; what they are held against knows nothing."


def _unproven(numbers: Measured) -> Iterator[str]:
    """Name the maps that do no better than one that knows nothing."""
    weak = [
        f"{title(method)} of the {title(name)} ({_listed(scores)})"
        for name, measured in numbers.items()
        for method in measured.maps
        if (scores := [title(score) for score in _unbeaten(method, measured)])
    ]
    if weak:
        yield f"Not clearly better than a map that knows nothing: {_listed(weak)}."


def _silent(numbers: Measured) -> Iterator[str]:
    """Name the methods some of whose maps are the same everywhere."""
    silent = [
        f"{flat:,} maps of {title(method)} for the {title(name)}"
        for name, measured in numbers.items()
        for method, flat in measured.flat.items()
        if flat
    ]
    if silent:
        yield f"Zero or equal everywhere, scored as chance: {_listed(silent)}."


def _unbeaten(method: str, measured: Numbers) -> Iterator[str]:
    """Give the scores in which a method's interval does not lie beyond both baselines'."""
    for score, number in measured.maps[method].items():
        known = [measured.maps[baseline][score] for baseline in BASELINES]
        if score in LOWER:
            beats = number.high < min(estimate.low for estimate in known)
        else:
            beats = number.low > max(estimate.high for estimate in known)
        if not beats and method not in BASELINES:
            yield score


def _coverage(conditions: Mapping[str, Any]) -> Iterator[str]:
    if "mask_share" in conditions:
        yield (
            f"The object covers {percent(conditions['mask_share'])} of an image on average: what a "
            f"constant map scores in energy and in the pointing game, whose tolerance here is "
            f"{conditions['pointing_game']['tolerance']:g} pixels."
        )


def _views(conditions: Mapping[str, Any]) -> Iterator[str]:
    """Tell in what the views differ through which the networks see the images, if they do."""
    views: Mapping[str, Mapping[str, Any]] = conditions["views"]
    first = next(iter(views.values()))
    apart = [key for key in first if any(view[key] != first[key] for view in views.values())]
    if apart:
        listed = "; ".join(
            f"{title(name)} ({', '.join(f'{key}={view[key]}' for key in apart)})"
            for name, view in views.items()
        )
        yield (
            f"Each network sees the same images prepared as in its training: {listed}. Maps, "
            f"scores, FLOPs and images/s are those at its own size."
        )


def _removal(*, steps: int, fill: str, reads: str, **_: object) -> str:
    return (
        f"Deletion takes pixels away in {steps} equal steps, shows `{fill}` instead and reads the "
        f"{reads}. It ranks maps of one network, not networks: one easily unsettled scores low."
    )


def _setting(name: str, values: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{key}={value}" for key, value in values.items() if value is not None)
    return f"{title(name)} ({listed})" if listed else title(name)


def _listed(parts: Sequence[str]) -> str:
    """Join with commas and an 'and'."""
    return ", ".join(parts) if len(parts) < 2 else f"{', '.join(parts[:-1])} and {parts[-1]}"
