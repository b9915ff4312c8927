"""What is made of every image: which network is explained by which method for which class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from torch import Tensor

from vision_attn.explain.contract import Explainer
from vision_attn.explain.localisation import LOCALISATION
from vision_attn.explain.methods import (
    AGNOSTIC,
    BASELINES,
    CHECKS,
    METHODS,
    METRICS,
    settings,
)
from vision_attn.explaining.networks import Network
from vision_attn.explaining.wanted import Want
from vision_attn.rules import nearest

EXPLAINERS: Mapping[str, Explainer] = METHODS | BASELINES
SCORES: Mapping[str, Callable[..., Tensor]] = METRICS | CHECKS | LOCALISATION
ALL = "all"
PARTIAL = frozenset(
    {
        "attention",
        "rollout",
        "rollout_max",
        "gradient_rollout",
        "relevance",
        "attention_gradient",
        "attention_flow",
        "cam",
        "full_grad",
        "glimpses",
    }
)
"""Methods that are undefined for some networks."""
OF_FEATURES = frozenset(
    {
        "grad_cam",
        "grad_cam_plus_plus",
        "hires_cam",
        "layer_cam",
        "xgrad_cam",
        "eigen_cam",
        "score_cam",
        "score_cam_top32",
        "ablation_cam",
    }
)
"""Methods defined for every network with features over the image; eigen_cam, cheap and without
gradients, tells whether it has any."""
USUAL = ("grad_cam", "rollout", "relevance", "glimpses")
"""What explains a network, as far as defined, unless the user says otherwise."""


class Column(NamedTuple):
    """What is made of every image: a map of one network by one method for one wanted class."""

    network: Network
    method: str
    want: Want
    settings: dict[str, Any]


def lay_out(
    networks: Sequence[Network],
    methods: Sequence[str] | None,
    wanted: Sequence[Want],
    scores: Sequence[str],
    masks: str,
) -> tuple[list[Column], list[str]]:
    """Plan the columns, those of one network together, and remark on methods left out.

    Where maps are scored, baselines are too. `masks` tells where objects are known from. Raises
    ValueError for a method that no network takes, and for scores that lack masks.
    """
    located = [score for score in scores if score in LOCALISATION]
    if located and not masks:
        raise ValueError(
            f"masks of the objects are needed for {', '.join(located)}; give --masks, or scenes as "
            f"the source"
        )
    everything = methods is not None and ALL in methods
    chosen = list(METHODS) if everything else list(dict.fromkeys(methods or USUAL))
    refusals = _refusals(networks, chosen)
    if methods and not everything:
        _check_taken(networks, chosen, refusals)
    columns = [
        Column(network, method, want, _settings(network, method, want, scores, masks))
        for network in networks
        for method in dict.fromkeys([*chosen, *(BASELINES if scores else ())])
        if (network.name, method) not in refusals
        for want in _distinct(method, wanted)
    ]
    return columns, list(refusals.values()) if methods else []


def check_names(methods: Sequence[str] | None, scores: Sequence[str]) -> None:
    """Raise ValueError for methods and scores that are not known."""
    check_known("--methods", methods, [ALL, *EXPLAINERS])
    check_known("--scores", scores, list(SCORES))
    if methods is not None and not methods:
        raise ValueError(
            f"--methods must name explainers: {ALL} or some of {', '.join(EXPLAINERS)}"
        )


def check_known(option: str, chosen: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raise ValueError for a name that is not known, with the one that was probably meant."""
    for name in chosen or ():
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"choose from {', '.join(known)}"
            raise ValueError(f"{option}: there is no {name}; {hint}")


def _refusals(networks: Sequence[Network], methods: Sequence[str]) -> dict[tuple[str, str], str]:
    """Find which of the methods a network does not take, and say why."""
    found = {
        (network.name, method): network.refusal(
            EXPLAINERS["eigen_cam" if method in OF_FEATURES else method]
        )
        for network in networks
        for method in methods
        if method in PARTIAL | OF_FEATURES
    }
    return {
        (network, method): f"{method} is undefined for {network}: {reason}"
        for (network, method), reason in found.items()
        if reason
    }


def _check_taken(
    networks: Sequence[Network], methods: Sequence[str], refusals: Mapping[tuple[str, str], str]
) -> None:
    """Raise ValueError for a method that no network takes, and a network that takes none."""
    taken = {
        (network.name, method)
        for network in networks
        for method in methods
        if (network.name, method) not in refusals
    }
    if {method for _, method in taken} != {*methods} or len({name for name, _ in taken}) < len(
        networks
    ):
        raise ValueError("\n".join(refusals.values()))


def _distinct(method: str, wanted: Sequence[Want]) -> Sequence[Want]:
    """Leave out classes that would give the same map."""
    return [replace(wanted[0], part="")] if method in AGNOSTIC else wanted


def _settings(
    network: Network, method: str, want: Want, scores: Sequence[str], masks: str
) -> dict[str, Any]:
    """List all that a map and its scores depend on, beside image, network and method."""
    seen = asdict(network.spec)
    del seen["names"]
    found = settings(EXPLAINERS[method]) | {"target": want.words, "image": seen}
    if scores:
        found["scores"] = {name: settings(SCORES[name]) for name in scores}
    if any(score in LOCALISATION for score in scores):
        found["masks"] = masks
    return found | ({"weights": "random"} if network.random else {})
