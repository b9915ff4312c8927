"""The language of captions: sentences about a scene, and whether one is true."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from vision_attn.data.dice import Dice
from vision_attn.data.scene import Object, Scene
from vision_attn.data.shapes import COLOURS, MUTED, SHAPES, SIZES, TEXTURES

VERSION = 1
"""Changes when the same scene is described in other words."""

_RELATED = (
    "{a} {relation} {b}",
    "{a} is {relation} {b}",
    "there is {a} {relation} {b}",
    "{a} {relation} {b}, on {ground}",
    "{a} is {relation} {b}, on {ground}",
)
_FORMS = (
    *_RELATED,
    "{a} on {ground}",
    "there is {a} on {ground}",
    "{a} {place}",
    "{a} is {place}",
    "{a} {place}, on {ground}",
    "{a} and {b}",
    "there is {a} and {b}, on {ground}",
    "{a}, {b} and {c}",
)

_MIDDLE = (0.4, 0.6)
"""Where the middle of the image begins and ends, as shares of its side."""
_STEP = 0.08
"""Least distance of two centres that a direction may name, as a share of the image side."""

PLACES: dict[str, Callable[[float, float], bool]] = {
    "on the left": lambda x, y: x < _MIDDLE[0],
    "on the right": lambda x, y: x > _MIDDLE[1],
    "at the top": lambda x, y: y < _MIDDLE[0],
    "at the bottom": lambda x, y: y > _MIDDLE[1],
    "in the middle": lambda x, y: all(_MIDDLE[0] <= p <= _MIDDLE[1] for p in (x, y)),
    "in the top left": lambda x, y: x < _MIDDLE[0] and y < _MIDDLE[0],
    "in the top right": lambda x, y: x > _MIDDLE[1] and y < _MIDDLE[0],
    "in the bottom left": lambda x, y: x < _MIDDLE[0] and y > _MIDDLE[1],
    "in the bottom right": lambda x, y: x > _MIDDLE[1] and y > _MIDDLE[1],
}
"""Whether the centre of an object's box is there, as shares of the image side."""

DIRECTIONS: dict[str, Callable[[float, float], bool]] = {
    "left of": lambda x, y: x < -max(_STEP, abs(y) / 2),
    "right of": lambda x, y: x > max(_STEP, abs(y) / 2),
    "above": lambda x, y: y < -max(_STEP, abs(x) / 2),
    "below": lambda x, y: y > max(_STEP, abs(x) / 2),
}
"""Whether it lies there, seen from another object; up to 63 degrees off the axis."""
RELATIONS = (*DIRECTIONS, "in front of", "behind")

WORDS = tuple(
    sorted(
        {
            word
            for text in (
                *(re.sub(r"{\w+}|,", "", form) for form in _FORMS),
                *("a", "an", "background"),
                *(*SIZES, *COLOURS, *SHAPES, *MUTED, *TEXTURES),
                *(*RELATIONS, *PLACES),
            )
            for word in text.split()
        }
    )
)
"""All words of the language, in alphabetical order."""
LONGEST = 17
"""Words of the longest captions."""


class Phrase(NamedTuple):
    """Words of a caption that name an object: numbers of the first and last word, from 0."""

    first: int
    last: int
    object: int
    """Index in the scene."""


def captions(scene: Scene, dice: Dice) -> tuple[str, ...]:
    """Write five different true captions; the first relates two objects, if there are two."""
    texts: list[str] = []
    related = _related(scene)
    openings = _RELATED if related else _FORMS
    while len(texts) < 5:
        text = _written(dice.pick(_FORMS if texts else openings), scene, related, dice)
        if text is not None and text not in texts:
            texts.append(text)
    return tuple(texts)


def valid_caption(text: str, scene: Scene) -> bool:
    """Say whether a caption is of the language and true of the scene, naming each object once."""
    return any(_holds(match, scene) for match in _readings(text, _PATTERNS))


def valid_words(words: Sequence[str], scene: Scene) -> bool:
    """Say the same of a caption in words, without punctuation."""
    return any(_holds(match, scene) for match in _readings(" ".join(words), _UNPUNCTUATED))


def phrases(text: str, scene: Scene) -> tuple[Phrase, ...]:
    """Find the words that name objects; raises ValueError if the caption is not valid."""
    return _phrases(_readings(text, _PATTERNS), text, scene)


def phrases_of(words: Sequence[str], scene: Scene) -> tuple[Phrase, ...]:
    """Find the same in a caption in words, without punctuation."""
    text = " ".join(words)
    return _phrases(_readings(text, _UNPUNCTUATED), text, scene)


def words(text: str) -> list[str]:
    """Split a caption into words; punctuation is none."""
    return re.findall(r"\w+", text)


def _phrases(readings: list[re.Match], text: str, scene: Scene) -> tuple[Phrase, ...]:
    """Count the words of the first true reading."""
    for match in readings:
        if _holds(match, scene):
            named = [name for name in "abc" if name in match.groupdict()]
            return tuple(_phrase(match, name, scene) for name in named)
    raise ValueError(f"a caption must be true of its scene, got {text!r}")


def _phrase(match: re.Match, name: str, scene: Scene) -> Phrase:
    """Count the words before a noun phrase, and those in it."""
    first = len(words(match.string[: match.start(name)]))
    named = match[name]
    return Phrase(first, first + len(words(named)) - 1, _named(named, scene)[0])


def _written(
    form: str, scene: Scene, related: list[tuple[int, int, str]], dice: Dice
) -> str | None:
    """Fill a form in with what is true; None where the scene has too little for it."""
    count = sum(f"{{{name}}}" in form for name in "abc")
    relation = ""
    if count > len(scene.objects) or ("{relation}" in form and not related):
        return None
    chosen = dice.shuffled(range(len(scene.objects)))
    if "{relation}" in form:
        *chosen, relation = dice.pick(related)
    nouns = [_noun(scene.objects[i], sized=dice.chance(50)) for i in chosen[:count]]
    place, ground = dice.pick(_places(scene, chosen[0])), dice.pick(_grounds(scene))
    filled = dict(zip("abc", nouns, strict=False))
    return form.format(relation=relation, place=place, ground=ground, **filled)


def _noun(item: Object, sized: bool) -> str:
    """Name an object by colour and shape, and by size if asked."""
    name = f"{item.size} {item.colour} {item.shape}" if sized else f"{item.colour} {item.shape}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _named(noun: str, scene: Scene) -> list[int]:
    """Find the objects that a noun phrase fits."""
    return [i for i, x in enumerate(scene.objects) if noun in (_noun(x, True), _noun(x, False))]


def _grounds(scene: Scene) -> list[str]:
    """Name the background in every true way."""
    names = (scene.tone, scene.texture, f"{scene.tone} {scene.texture}")
    return [f"a {name} background" for name in names]


def _places(scene: Scene, index: int) -> list[str]:
    """Say in every true way where in the image an object is."""
    x, y = _centre(scene, index)
    return [name for name, holds in PLACES.items() if holds(x, y)]


def _related(scene: Scene) -> list[tuple[int, int, str]]:
    """List all true (object, other object, relation)."""
    return [
        (i, j, relation)
        for i in range(len(scene.objects))
        for j in range(len(scene.objects))
        if i != j
        for relation in _relations(scene, i, j)
    ]


def _relations(scene: Scene, index: int, other: int) -> list[str]:
    """Say in every true way how an object lies, seen from another one."""
    (x, y), (other_x, other_y) = _centre(scene, index), _centre(scene, other)
    found = [name for name, holds in DIRECTIONS.items() if holds(x - other_x, y - other_y)]
    if other in scene.objects[index].hides:
        found.append("in front of")
    if index in scene.objects[other].hides:
        found.append("behind")
    return found


def _centre(scene: Scene, index: int) -> tuple[float, float]:
    """Give the middle of an object's box, x and y as shares of the image side."""
    left, top, right, bottom = scene.objects[index].box
    height, width = scene.image.shape[:2]
    return (left + right) / 2 / width, (top + bottom) / 2 / height


def _any(choices: Iterable[str]) -> str:
    """Match any of some texts."""
    return "(?:" + "|".join(choices) + ")"


_NOUN = f"an? (?:{_any(SIZES)} )?{_any(COLOURS)} {_any(SHAPES)}"
_PARTS = {
    **dict.fromkeys("abc", _NOUN),
    "relation": _any(RELATIONS),
    "place": _any(PLACES),
    "ground": f"a (?:{_any(MUTED)} )?(?:{_any(TEXTURES)} )?background",
}
_GROUPS = {name: f"(?P<{name}>{part})" for name, part in _PARTS.items()}
_PATTERNS = [re.compile(form.format(**_GROUPS)) for form in _FORMS]
_UNPUNCTUATED = [re.compile(form.replace(",", "").format(**_GROUPS)) for form in _FORMS]


def _readings(text: str, patterns: list[re.Pattern]) -> list[re.Match]:
    """Read a caption in every form that fits it."""
    return [match for pattern in patterns if (match := pattern.fullmatch(text))]


def _holds(match: re.Match, scene: Scene) -> bool:
    """Say whether a reading is true: one object for each phrase, and all that is said of them."""
    parts = match.groupdict()
    found = [_named(parts[name], scene) for name in "abc" if name in parts]
    objects = [i for fits in found for i in fits]
    if any(len(fits) != 1 for fits in found) or len(set(objects)) < len(objects):
        return False
    return (
        ("relation" not in parts or parts["relation"] in _relations(scene, *objects[:2]))
        and ("place" not in parts or parts["place"] in _places(scene, objects[0]))
        and ("ground" not in parts or parts["ground"] in _grounds(scene))
    )
