"""The labels that a network is most wrong about, an image each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.report.mistakes import path_of
from vision_attn.report.tag_judgement import TagAnswers


class TagMistake(NamedTuple):
    """Name an image and the label that the network is most wrong about there."""

    name: str
    """Of its files in the export."""
    path: str
    """Of the image file; its place in the split where the set is not made of files."""
    place: int
    number: int
    """Of the label."""
    label: str
    probability: float
    """That the label applies."""
    applies: bool
    """Whether it does."""
    said: bool
    """Whether the network says so."""
    true: tuple[str, ...]
    """All labels of the image."""
    surest: int
    """Number of the other label that the network is surest of."""

    @property
    def wanted(self) -> dict[str, int]:
        """Number the labels that maps are for."""
        return {"mistaken": self.number, "surest other": self.surest}

    @property
    def words(self) -> str:
        """Say what is wrong, if anything is."""
        if self.applies == self.said:
            return "right, but unsure"
        return "missed" if self.applies else "said though absent"


def worst_tags(
    answers: TagAnswers, names: Sequence[str], source: Any, split: str, most: int
) -> list[TagMistake]:
    """Find the mistakes that cost the most, one an image; without any, the least sure answers."""
    said, truth, losses = answers.said(), answers.truth, answers.losses
    wrong = said != truth
    if wrong.any():
        losses = losses.where(wrong, -1)
        most = min(most, int(wrong.any(1).sum()))
    costs, numbers = losses.max(1)
    found = []
    for rank, index in enumerate(costs.topk(min(most, len(costs))).indices.tolist(), start=1):
        number = int(numbers[index])
        path = path_of(source, index, split)
        others = answers.probabilities[index].clone()
        others[number] = -1
        found.append(
            TagMistake(
                name=f"{rank:03d}-{Path(path).stem}",
                path=path,
                place=index,
                number=number,
                label=names[number],
                probability=answers.probabilities[index, number].item(),
                applies=bool(truth[index, number]),
                said=bool(said[index, number]),
                true=tuple(names[x] for x in truth[index].nonzero().flatten().tolist()),
                surest=int(others.argmax()),
            )
        )
    return found
