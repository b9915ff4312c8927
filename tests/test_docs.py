"""The documents name files, recipes and Python names that are there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from vision_attn.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@EVERY_PAGE
def test_links_lead_somewhere(page):
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)", prose):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@EVERY_PAGE
def test_recipes_are_there(page):
    for name in re.findall(r"configs/(\w+)\.yaml", page.read_text()):
        assert (ROOT / "configs" / f"{name}.yaml").exists(), name


@EVERY_PAGE
def test_commands_are_there(page):
    known = {function.__name__.removeprefix("add_") for function in COMMANDS}
    assert set(re.findall(r"vision-attn ([a-z]+)", page.read_text())) <= known


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_names_can_be_imported(code):
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.ImportFrom):
            module = importlib.import_module(str(statement.module))
            assert all(hasattr(module, name.name) for name in statement.names)
