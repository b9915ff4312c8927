"""Run folders, a recipe and a folder of pictures to explain."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from caption_recipes import ENCODER, KINDS, LABELS, RECIPE
from tiny_runs import DATA, RECIPES, VIT, draw, write_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Two networks of the same data."""
    home = tmp_path_factory.mktemp("runs")
    return {name: write_run(home / name, name) for name in RECIPES}


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """Five scenes to explain."""
    path = tmp_path_factory.mktemp("recipe") / "scenes.yaml"
    path.write_text(DATA + VIT)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Four good files, two of them of one content and two of one name, and three bad ones."""
    home = tmp_path / "pictures"
    (home / "star").mkdir(parents=True)
    (home / ".thumbnails").mkdir()
    for place, name in enumerate(("a.jpg", "wide.png", "star/a.jpg", ".thumbnails/hidden.jpg")):
        draw(home / name, seed=place)
    (home / "copy.jpg").write_bytes((home / "a.jpg").read_bytes())
    (home / "cut.jpg").write_bytes((home / "a.jpg").read_bytes()[:300])
    (home / "empty.png").write_bytes(b"")
    (home / "notes.txt").write_text("no picture")
    return home


@pytest.fixture(scope="module")
def captioners(tmp_path_factory):
    """Tiny finished runs of every kind, and one of a network that tells labels."""
    folder = tmp_path_factory.mktemp("captioners")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISION_ATTN_CACHE", str(folder / "cache"))
        # Java would take longer than all the rest.
        program = nullcontext(lambda candidates, references: len(candidates) / 16)
        patch.setattr("vision_attn.commands.evaluate.meteor_program", lambda: program)
        patch.syspath_prepend(Path(__file__).parents[2])
        import train

        for kind, (encoder, decoder) in KINDS.items():
            text = RECIPE.format(run=folder / kind, encoder=encoder, decoder=decoder)
            (folder / f"{kind}.yaml").write_text(text)
            train.main([str(folder / f"{kind}.yaml")])
        (folder / "labels.yaml").write_text(LABELS.format(run=folder / "labels", encoder=ENCODER))
        train.main([str(folder / "labels.yaml")])
        yield folder
