"""All that is wrong with a recipe at once, a line each: where, which rule, what was meant."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vision_attn.checking.entries import COMMAND_LINE, Entries, Mistake, Place
from vision_attn.checking.nested import choices, chosen, misnamed
from vision_attn.checking.settings import Setting, listed, settings
from vision_attn.rules import nearest

R = TypeVar("R", bound=BaseModel)
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
NOT_A_SECTION = ("dataclass_type", "dict_type")
UNNAMED = ("union_tag_not_found", "union_tag_invalid")
UNTYPED = (*UNKNOWN, *NOT_A_SECTION, *UNNAMED, "missing", "value_error")
Sections = Mapping[str, Mapping[str, type]]
"""For each key at the top the configs it may be, by name; "" is a section's only, nameless one."""


class RecipeError(ValueError):
    """List all that is wrong with a recipe, a line each."""

    def __init__(self, mistakes: list[Mistake]):
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def check(recipe: type[R], entries: Entries, sections: Sections, unchecked: set[str]) -> R:
    """Build the recipe, or raise RecipeError with every mistake in it.

    Rules that read a section in `unchecked` are left out, and so are those of sections that are
    themselves wrong: unknown keys are dropped, then values of a wrong type, then wrong sections
    replaced, to find the rest. What a dropped value would have to keep to is not told.
    """
    found = dict.fromkeys(entries.mistakes)
    tree, result, replaced, dropped = entries.tree, None, set[str](), set[Place]()
    for place, words in _misnamed(tree, sections):
        found[Mistake(entries.origin(place), place, words)] = None
        unchecked = unchecked | {place[0]}
    while tree:
        try:
            text = json.dumps(tree, default=str)
            result = recipe.model_validate_json(text, context={"unchecked": unchecked | replaced})
            break
        except ValidationError as error:
            errors = error.errors(include_url=False)
        found |= dict.fromkeys(m for e in errors for m in _mistakes(e, entries, sections, dropped))
        located = [(e["type"], _place(e, tree, sections)) for e in errors if e["loc"]]
        unknown = [place for kind, place in located if place and kind in UNKNOWN]
        typed = [_written(place, tree) for kind, place in located if place and kind not in UNTYPED]
        mistyped = [place for place in typed if len(place) > 1 and place[1:] != ("name",)]
        wrong = {str(e["loc"][0]) for e in errors if e["loc"]} - replaced
        if unknown:
            tree = _without(tree, unknown)
        elif mistyped:
            tree = _without(tree, mistyped)
            dropped |= set(mistyped)
            unchecked = unchecked | {place[0] for place in mistyped}
        elif wrong:
            replaced |= wrong
            tree = _without(tree, [(name,) for name in wrong])
            named = [name for name in wrong if any(sections[name])]
            tree |= {name: {"name": next(iter(sections[name]))} for name in named}
        else:
            break
    if found or result is None:
        order = list(entries.origins)
        raise RecipeError(sorted(found, key=lambda m: order.index(entries.known(m.place))))
    return result


def _without(tree: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    """Copy a tree, leaving these entries out."""
    return {
        key: _without(value, [place[1:] for place in places if place[0] == key])
        if isinstance(value, dict)
        else value
        for key, value in tree.items()
        if (key,) not in places
    }


def _written(place: Place, tree: dict[str, Any]) -> Place:
    """Tell which entry of the tree a place is, or is inside of."""
    branch: Any = tree
    for depth, key in enumerate(place):
        if not isinstance(branch, dict) or key not in branch:
            return place[:depth]
        branch = branch[key]
    return place


def _place(error: ErrorDetails, tree: dict[str, Any], sections: Sections) -> Place | None:
    """Tell where an error is: pydantic's location without the tags of unions and list indices.

    None if the error is of a config that the recipe does not name there.
    """
    section, *below = map(str, error["loc"])
    configs = sections.get(section, {})
    branch: dict[str, Any] = tree.get(section, {})
    config = _config(section, tree, sections)
    keys = [section]
    for key in below[len(configs) > 1 :]:
        if config is not None and keys[-1] in choices(config) and len(keys) > 1:
            config = chosen(config, keys[-1], branch)
            if config is None or key != config.__name__:
                return None
            branch = branch.get(keys[-1], {})
        elif not key.isdecimal():
            keys.append(key)
    return tuple(keys)


def _misnamed(tree: dict[str, Any], sections: Sections) -> Iterator[tuple[Place, str]]:
    """Tell which sections inside sections do not name one of their configs, and what is wrong."""
    for section in sections:
        config = _config(section, tree, sections)
        for field, kinds in misnamed(config, tree[section]) if config else ():
            entry, place = tree[section][field], (section, field)
            if not isinstance(entry, dict):
                yield place, f"must be a section of settings (got {_shown(entry)})"
            elif "name" not in entry:
                yield (*place, "name"), f"missing; choose {listed(kinds)}"
            else:
                name = entry["name"]
                yield (*place, "name"), f"{_one_of(str(name), [*kinds])} (got {_shown(name)})"


def _mistakes(
    error: ErrorDetails, entries: Entries, sections: Sections, dropped: set[Place]
) -> list[Mistake]:
    """Say one of pydantic's errors in a line; a rule across sections may have found several."""
    if not error["loc"]:
        lines = [line.partition(": ") for line in str(error["ctx"]["error"]).splitlines()]
        mistakes = [(tuple(dotted.split(".")), message) for dotted, _, message in lines]
    else:
        found = _place(error, entries.tree, sections)
        if found is None:
            return []
        place, words = _mistake(error, found, entries.tree, sections)
        if error["type"] in UNKNOWN:
            words += _leftover(place, entries)
        unsure = {last for *above, last in dropped if tuple(above) == place}
        mistakes = [
            _broken(place, line, entries)
            for line in words.splitlines()
            if not unsure & set(re.findall(r"\w+", line))
        ]
    return [Mistake(entries.origin(place), place, message) for place, message in mistakes]


def _leftover(place: Place, entries: Entries) -> str:
    """Say how to get rid of settings that were meant for another config of the section."""
    section, named = place[0], entries.origins.get((place[0], "name"))
    if named != COMMAND_LINE or entries.origin(place) == COMMAND_LINE:
        return ""
    return f"; {section}={{name: {entries.tree[section]['name']}}} replaces the whole section"


def _broken(place: Place, rule: str, entries: Entries) -> tuple[Place, str]:
    """Point to the setting that a section's broken rule begins with, if the recipe gives it."""
    if named := re.match(r"([\w.]+) (?!and\b)", rule):
        inner = (*place, *named[1].split("."))
        if inner in entries.origins:
            return inner, rule[named.end() :]
    return place, rule


def _mistake(
    error: ErrorDetails, place: Place, tree: dict[str, Any], sections: Sections
) -> tuple[Place, str]:
    """Give the exact place and what is wrong there."""
    names, kind = list(sections.get(place[0], ())), error["type"]
    got = f" (got {_shown(error['input'])})"
    if kind in UNKNOWN:
        return place, _unknown(place, tree, sections) + got
    if kind == "union_tag_not_found" or (kind == "missing" and len(place) == 1):
        return (place[0], "name"), f"missing; choose {listed(names)}"
    if kind == "union_tag_invalid" or place[1:] == ("name",):
        name = tree[place[0]]["name"]
        return (place[0], "name"), f"{_one_of(str(name), names)} (got {_shown(name)})"
    if kind in NOT_A_SECTION:
        return place, "must be a section of settings" + got
    if kind == "value_error":
        return place, str(error["ctx"]["error"])
    for setting in _settings(place[0], tree, sections):
        end = 1 + setting.path.count(".") + 1
        if ".".join(place[1:end]) == setting.path:
            if kind == "missing":
                return place, f"missing; give {listed(setting.accepts)}"
            return place[:end], _one_of(str(error["input"]), setting.accepts) + got
    return place, error["msg"].replace("Input should be", "must be") + got


def _settings(section: str, tree: dict[str, Any], sections: Sections) -> list[Setting]:
    """List the settings of the config that the section names."""
    config = _config(section, tree, sections)
    return list(settings(config, tree[section])) if config else []


def _config(section: str, tree: dict[str, Any], sections: Sections) -> type | None:
    """Find the config that a section names, if it names one."""
    configs = sections.get(section, {})
    entry = tree.get(section)
    if not isinstance(entry, dict):
        return None
    return configs.get(str(entry.get("name")) if len(configs) > 1 else "".join(configs))


def _unknown(place: Place, tree: dict[str, Any], sections: Sections) -> str:
    """Say that a key is unknown, and which one is near or where it belongs."""
    *above, key = place
    if not above:
        inner = tree[key] if isinstance(tree[key], dict) else {}
        found = dict.fromkeys(place for name in inner for place in _elsewhere(name, sections))
        return _unknown_key(key, list(sections), list(found))
    prefix = "".join(f"{part}." for part in above[1:])
    paths = [setting.path for setting in _settings(above[0], tree, sections)]
    inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    known = list(dict.fromkeys(path.partition(".")[0] for path in inside))
    if len(above) == 1 and any(sections[above[0]]):
        known.insert(0, "name")
    others = [found for found in _elsewhere(key, sections) if found != f"{above[0]}.{key}"]
    return _unknown_key(key, known, others)


def _elsewhere(key: str, sections: Sections) -> list[str]:
    """Name the settings called so: that of the recipe itself, and those of sections."""
    own = [key] if key in sections and not sections[key] else []
    return own + [
        f"{section}.{key}"
        for section, configs in sections.items()
        if any(s.path == key for config in configs.values() for s in settings(config))
    ]


def _unknown_key(key: str, known: list[str], others: list[str]) -> str:
    near = nearest(key, known) or (listed(others) if others else "")
    return "unknown key; " + (f"did you mean {near}?" if near else f"keys are {', '.join(known)}")


def _one_of(word: str, accepted: list[str] | tuple[str, ...]) -> str:
    near = nearest(word, accepted)
    return f"must be {listed(accepted)}" + (f"; did you mean {near}?" if near else "")


def _shown(value: Any) -> str:
    """Write a value as YAML would, cut to a readable length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:56]} ..."
