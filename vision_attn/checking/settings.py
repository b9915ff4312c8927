"""What can be set: names, kinds, defaults and meanings, read off the configs themselves."""

import ast
import dataclasses
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vision_attn.checking.nested import choices, chosen

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Path": "a path",
    "None": "null",
}


class Setting(NamedTuple):
    """Describe one field of a config."""

    path: str
    """Dotted, below the config: `augment.flip`."""
    accepts: tuple[str, ...]
    """Alternatives, in words: ("a whole number", "null")."""
    default: str
    """As it is written in a recipe, or `required`."""
    meaning: str


def settings(
    config: type, tree: Mapping[str, Any] | None = None, prefix: str = ""
) -> Iterator[Setting]:
    """Give the fields of a config dataclass; those of a config inside it take its place.

    Where a config inside is one of several, those of the one that `tree` names do, if there is one.
    """
    meanings = attribute_docstrings(config)
    for field in dataclasses.fields(config):
        inner, path = field.default_factory, prefix + field.name
        meaning = meanings.get(field.name, "").replace("None", "null")  # as a recipe writes it
        if kinds := choices(config).get(field.name):
            default = next(name for name, kind in kinds.items() if kind is inner)
            yield Setting(f"{path}.name", tuple(kinds), default, meaning)
            if tree is not None and (kind := chosen(config, field.name, tree)):
                yield from settings(kind, tree.get(field.name, {}), f"{path}.")
        elif isinstance(inner, type) and dataclasses.is_dataclass(inner):
            below = tree.get(field.name) if tree is not None else None
            yield from settings(inner, below if isinstance(below, dict) else None, f"{path}.")
        elif field.name != "name":
            default = "required" if field.default is dataclasses.MISSING else written(field.default)
            yield Setting(path, alternatives(str(field.type)), default, meaning)


def attribute_docstrings(config: type) -> dict[str, str]:
    """Read the string under each field of a class, and of those it extends, from the source."""
    found = {}
    for kind in reversed(config.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in itertools.pairwise(body.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found


def alternatives(annotation: str) -> tuple[str, ...]:
    """Say what a type accepts: `int | None` is "a whole number" and "null"."""
    return tuple(_alternatives(ast.parse(annotation, mode="eval").body))


def _alternatives(kind: ast.expr) -> list[str]:
    match kind:
        case ast.BinOp(left, ast.BitOr(), right):
            return _alternatives(left) + _alternatives(right)
        case ast.Subscript(ast.Name("Literal"), ast.Tuple(choices)):
            return [str(ast.literal_eval(choice)) for choice in choices]
        case ast.Subscript(ast.Name("Literal"), choice):
            return [str(ast.literal_eval(choice))]
        case ast.Subscript(ast.Name("tuple"), ast.Tuple([item, *_])):
            return [f"a list of {listed(_alternatives(item)).removeprefix('a ')}s"]
    name = ast.unparse(kind)
    return [KINDS.get(name, name)]


def listed(words: Iterable[str]) -> str:
    """Join alternatives: `a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def written(value: Any) -> str:
    """Write a value as a recipe would."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def table(rows: Iterable[Setting], width: int) -> str:
    """Align settings: name and default left, meaning and what is accepted right."""
    rows = list(rows)
    left = [f"    {row.path} = {row.default}" for row in rows]
    indent = " " * (max(map(len, left), default=0) + 2)
    lines = []
    for start, row in zip(left, rows, strict=True):
        text = textwrap.fill(
            f"{row.meaning} [{listed(row.accepts)}]".strip(),
            max(width, len(indent) + 40),
            initial_indent=indent,
            subsequent_indent=indent,
        )
        lines.append(start + text[len(start) :])
    return "\n".join(lines)
