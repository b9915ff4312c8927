"""What is to be explained of every image: an answer, the truth, or a class by name."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from vision_attn.explain.contract import Targets
from vision_attn.rules import nearest

PREDICTED, LABEL = "predicted", "label"


@dataclass(frozen=True)
class Want:
    """One class of every image; `rank` or `number` says which; with neither it is the label."""

    words: str
    part: str = ""
    """Names the folder of its maps within that of the method; the network's answer has none."""
    rank: int | None = None
    """0 is the network's answer, 1 its second guess."""
    number: int | None = None
    """Of a class."""

    def targets(
        self, logits: Float[Tensor, "batch output"], labels: Int[Tensor, " batch"] | None
    ) -> Targets:
        """Name the class of each image."""
        if self.rank is not None:
            return logits.topk(self.rank + 1).indices[:, self.rank]
        if self.number is not None:
            return logits.argmax(-1).new_full((len(logits),), self.number)
        assert labels is not None  # `wants` made sure
        return labels.to(logits.device)


def wants(chosen: Sequence[str], top_k: int, names: Sequence[str], *, labelled: bool) -> list[Want]:
    """Read what is wanted: `predicted`, `label`, class names or numbers.

    Raises ValueError for what is no class, for a name that two outputs share, for labels that are
    not known, for a `top_k` without `predicted`, and if nothing is wanted.
    """
    if not chosen:
        raise ValueError(f"--targets must say what to explain: {PREDICTED}, {LABEL} or classes")
    if not 1 <= top_k <= len(names):
        raise ValueError(f"--top-k must be in [1, {len(names)}], got {top_k}")
    if top_k > 1 and PREDICTED not in chosen:
        raise ValueError(f"--top-k counts predicted classes, got --targets {','.join(chosen)}")
    if LABEL in chosen and not labelled:
        raise ValueError(
            "labels are known for the data of a recipe with the network's classes, and for files "
            "in folders named by class; take --targets predicted or name a class"
        )
    found: list[Want] = []
    for word in dict.fromkeys(chosen):
        if word == PREDICTED:
            found += [Want(PREDICTED, rank=0)]
            found += [Want(f"{PREDICTED} {n}", f"top{n}", rank=n - 1) for n in range(2, top_k + 1)]
        elif word == LABEL:
            found.append(Want(LABEL, LABEL))
        else:
            index = class_index(word, names)
            found.append(Want(f"class {index}", f"class{index}", number=index))
    return found


def class_index(word: str, names: Sequence[str]) -> int:
    """Find a class by its name or number; raises ValueError if there is none, or are several."""
    same = [index for index, name in enumerate(names) if name == word]
    if len(same) > 1:
        raise ValueError(f"the name {word} is that of classes {same}; give the number")
    if same:
        return same[0]
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    near = nearest(word, [PREDICTED, LABEL, *names])
    hint = f"; did you mean {near}?" if near else ""
    raise ValueError(
        f"--targets are {PREDICTED}, {LABEL}, class names or numbers below {len(names)}, got "
        f"{word}{hint}"
    )
