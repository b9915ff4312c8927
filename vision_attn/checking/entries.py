"""A recipe's text as plain entries, each of which knows the line it came from."""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Place = tuple[str, ...]
"""Keys from the top down: ("model", "depth")."""
COMMAND_LINE = "command line"
FAILED = object()
SECTIONED = "a recipe has the sections data, model, task and train"


class Mistake(NamedTuple):
    """Say what is wrong with one entry, in one line."""

    origin: str
    """File and line, or the command line."""
    place: Place
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.origin, ".".join(self.place), self.message)))


class Scalars(yaml.SafeLoader):
    """Read scalars as YAML 1.2 does: `off` and dates are words, 3e-4 is a number.

    A number without a fraction is whole, however it is written: 1e4 is 10000.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # a class attribute in PyYAML too


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    number = loader.construct_yaml_float(node)
    return int(number) if number.is_integer() else number


for tag, pattern, starts in (
    ("null", r"(~|null|)$", ["~", "n", ""]),
    ("bool", r"(true|false)$", ["t", "f"]),
    ("float", r"[-+]?(\.\d+|\d[\d_]*(\.\d*)?)([eE][-+]?\d+)?$", list("-+.0123456789")),
    ("float", r"([-+]?\.inf|\.nan)$", list("-+.")),
):
    Scalars.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), starts)
Scalars.add_constructor("tag:yaml.org,2002:float", _number)


@dataclass
class Entries:
    """Collect entries from a file and the command line, and what is wrong with their text."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=lambda: {(): "recipe"})
    mistakes: list[Mistake] = field(default_factory=list)

    def load(self, path: Path, expected: str = SECTIONED) -> None:
        """Take the entries of a YAML file; `expected` says what an empty one lacks."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return self._refuse(str(path), (), _unreadable(path, error))
        tree = self._parse(text, (), str(path))
        if isinstance(tree, dict) and tree:
            self.tree = tree
        elif not self.mistakes:
            self._refuse(str(path), (), expected)
        return None

    def override(self, text: str) -> None:
        """Take one `section.field=value` from the command line; the value is YAML."""
        dotted, equals, value = text.partition("=")
        place = tuple(dotted.split("."))
        if not equals or not all(place):
            return self._refuse(COMMAND_LINE, (), f"expected section.field=value, got {text!r}")
        branch = self.tree
        for depth, key in enumerate(place[:-1], start=1):
            self.origins.setdefault(place[:depth], COMMAND_LINE)
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                upper = ".".join(place[:depth])
                return self._refuse(COMMAND_LINE, place, f"{upper} is a value, not a section")
        self.origins = {p: o for p, o in self.origins.items() if p[: len(place)] != place}
        if (parsed := self._parse(value, place, COMMAND_LINE)) is not FAILED:
            branch[place[-1]] = parsed
        return None

    def lay(self, other: "Entries", place: Place) -> None:
        """Lay what is said at a place elsewhere over these entries, setting by setting."""
        branch: Any = other.tree
        for key in place:
            branch = branch.get(key, {})
        self.tree = _laid(self.tree, branch)
        depth = len(place)
        self.origins |= {
            at[depth:]: origin
            for at, origin in other.origins.items()
            if at[:depth] == place and at != place
        }

    def known(self, place: Place) -> Place:
        """Find the entry itself, or else the section around it, that was written somewhere."""
        while place not in self.origins:
            place = place[:-1]
        return place

    def origin(self, place: Place) -> str:
        """Tell file and line, or the command line, of an entry or else the section around it."""
        return self.origins[self.known(place)]

    def _refuse(self, origin: str, place: Place, message: str) -> None:
        self.mistakes.append(Mistake(origin, place, message))

    def _parse(self, text: str, place: Place, source: str) -> Any:
        """Read YAML; a text that is none becomes a mistake, and FAILED here."""
        try:
            loader = Scalars(text)
            node = loader.get_single_node()
            self.origins[place] = source
            return None if node is None else self._plain(loader, node, place, source)
        except (yaml.YAMLError, RecursionError) as error:
            reason = getattr(error, "problem", None) or "unreadable, or nested without end"
            mark = getattr(error, "problem_mark", None)
            self._refuse(_line(source, mark), place, f"not YAML: {reason}")
            return FAILED

    def _plain(self, loader: Scalars, node: yaml.Node, place: Place, source: str) -> Any:
        """Turn a node into dicts, lists and scalars, noting origins and repeated keys."""
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(loader, item, place, source) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here, origin = (*place, key), _line(source, key_node.start_mark)
            if key in tree:
                self._refuse(origin, here, f"given twice, first at {self.origins[here]}")
            self.origins[here] = origin
            tree[key] = self._plain(loader, value_node, here, source)
        return tree


def _laid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Join two trees; where both have a value, that from above counts."""
    both = {
        key: _laid(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | both


def _line(source: str, mark: yaml.Mark | None) -> str:
    """Add the line to a file's name; the command line has none."""
    return source if mark is None or source == COMMAND_LINE else f"{source}:{mark.line + 1}"


def _unreadable(path: Path, error: Exception) -> str:
    """Say why a recipe cannot be read and which file was probably meant."""
    if path.is_dir():
        inside = path / "config.yaml"
        return "a folder, not a recipe" + (f"; did you mean {inside}?" if inside.exists() else "")
    if isinstance(error, FileNotFoundError):
        beside = [str(other) for other in path.parent.glob("*.yaml")]
        near = difflib.get_close_matches(str(path), beside, n=1)
        return "no such file" + (f"; did you mean {near[0]}?" if near else "")
    return f"unreadable: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}"
