"""Sections inside a section: fields that are one of several configs, told apart by name."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_type_hints


@cache
def choices(config: type) -> dict[str, dict[str, type]]:
    """Give, for each field of a config that is one of several configs, these by name."""
    found: dict[str, dict[str, type]] = {}
    for field, hint in get_type_hints(config).items():
        kinds: list[Any] = [kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)]
        if len(kinds) > 1:
            found[field] = {kind.name: kind for kind in kinds}
    return found


def chosen(config: type, field: str, tree: Mapping[str, Any]) -> type | None:
    """Tell which config a field's section names; the default where there is no section at all.

    None where the section is none, or names nothing or nothing known.
    """
    kinds = choices(config)[field]
    if field not in tree:
        default = next(x.default_factory for x in dataclasses.fields(config) if x.name == field)
        return default if isinstance(default, type) else None
    section = tree[field]
    return kinds.get(str(section.get("name"))) if isinstance(section, dict) else None


def misnamed(config: type, tree: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, type]]]:
    """Give the fields whose section names no config of theirs, and the configs there are."""
    for field, kinds in choices(config).items():
        if chosen(config, field, tree) is None:
            yield field, kinds
