"""Images of other data that judge a run: its classes by their names, none that it was made of."""

import math
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vision_attn.data.batch import Labelled, Problem, Tagged
from vision_attn.data.division import part_of
from vision_attn.data.files import File
from vision_attn.data.finding import find
from vision_attn.data.images import Split
from vision_attn.data.reading import CHUNK, Files, processes, read_all
from vision_attn.data.renamed import hold_known, renamed
from vision_attn.data.splits import SplitName
from vision_attn.recipe import read
from vision_attn.spec import Spec

MADE_OF = "it trained the network, or chose its weights"
STRAY = "not in the folder of a class"


class Others(NamedTuple):
    """The images of other data that judge a run."""

    origin: Path
    """The recipe, or the folder that holds all files."""
    split: SplitName
    source: Any
    words: str
    """What is to be said after their number: whether they had a part in the run."""
    left_out: list[Problem]
    workers: int
    """Processes that prepare batches."""

    @property
    def name(self) -> str:
        """Name the data."""
        return self.origin.stem if self.origin.is_file() else self.origin.name


def open_others(
    words: Sequence[str],
    overrides: Sequence[str],
    spec: Spec,
    run: Path,
    *,
    split: SplitName | None = None,
    own: Sequence[Path] = (),
) -> Others:
    """Open the data of RECIPE.yaml, or files in folders named like classes, for the run's network.

    Images are prepared as `spec` says, whatever the recipe says of that; `overrides` change the
    recipe. What lies in the folders `own` is no data. Images that made the run, told by content,
    are left out. Raises ValueError for classes that the network does not know, and where nothing
    is left.
    """
    recipes = [word for word in words if Path(word).suffix in (".yaml", ".yml")]
    if recipes and len(words) > 1:
        raise ValueError(f"a recipe stands alone as the data, got {' '.join(words)}")
    if recipes:
        others = _of_recipe(Path(recipes[0]), overrides, spec, split)
    elif split or overrides:
        given = " ".join([*overrides, *(["--split", split] if split else [])])
        raise ValueError(f"settings and splits are for the data of a recipe, got {given}")
    else:
        others = _of_files(find(words, [path.resolve() for path in own]), words, spec)
    return _without_its_own(others, run)


def _of_recipe(path: Path, overrides: Sequence[str], spec: Spec, split: SplitName | None) -> Others:
    config = read(path, "init=null", *overrides).data
    data = _prepared(config, spec, path).build()
    split = split or ("valid" if data.test is None else "test")
    source = getattr(data, split)
    if source is None:
        raise ValueError(f"{path} has no {split} split; take --split valid")
    if not isinstance(source.__getitems__([(0, 0)]), Tagged if spec.several else Labelled):
        kind = "any number of labels" if spec.several else "one label"
        raise ValueError(f"the network tells {kind} an image, and {path} has other answers")
    if (found := replace(data.spec, names=spec.names, several=spec.several)) != spec:
        raise ValueError(
            f"images must be prepared as in training, got {found} from {path}, and the weights "
            f"need {spec}; data of files (folder, tar, csv) can be prepared in any way"
        )
    source = renamed(source, data.spec.names, spec.names, str(path))
    untold = sorted(set(spec.names) - set(data.spec.names)) if spec.several else []
    count = "count" if len(untold) > 1 else "counts"
    told = f"; it does not name {', '.join(untold)}, which {count} as absent" if untold else ""
    return Others(path.resolve(), split, source, told, data.problems, config.workers)


def _prepared(config: Any, spec: Spec, path: Path) -> Any:
    """Change those settings of a data set that say how its images are prepared."""
    wanted = {
        "image_size": spec.image_size[0],
        "channels": spec.channels,
        "mean": spec.mean,
        "std": spec.std,
        "crop": spec.crop,
        "interpolation": spec.interpolation,
    }
    has = {field.name for field in fields(config)}
    try:
        return replace(config, **{name: x for name, x in wanted.items() if name in has})
    except ValueError as error:
        raise ValueError(f"{path} must be prepared as the network needs it: {error}") from None


def _of_files(paths: Sequence[Path], words: Sequence[str], spec: Spec) -> Others:
    if spec.several:
        raise ValueError(
            f"the network tells any number of labels an image, which folders cannot, got "
            f"{' '.join(words)}; give a recipe with data.name=csv_multilabel"
        )
    files, strays = _sorted_out(paths, words, spec.names)
    reader = Files(files, spec.channels, math.ceil(max(spec.image_size) / spec.crop))
    _, digests, problems = read_all(reader, spec, stored=False)
    bad = {problem.path for problem in problems}
    usable = np.array([i for i, file in enumerate(files) if file.path not in bad], np.int64)
    labels = np.array([spec.names.index(file.label) for file in files], np.int64)
    source = Split(reader._replace(digests=digests), labels, usable, spec)
    origin = Path(os.path.commonpath([path.resolve().parent for path in paths]))
    return Others(origin, "test", source, "", strays + problems, processes(len(files) // CHUNK))


def _sorted_out(
    paths: Sequence[Path], words: Sequence[str], names: Sequence[str]
) -> tuple[list[File], list[Problem]]:
    """Tell the files in folders of classes from those that lie beside such folders.

    Raises ValueError for folders that are no classes.
    """
    given = {Path(word).resolve() for word in words}
    files, strays = [], []
    for path in paths:
        folder = path.resolve().parent
        if folder.name not in names and folder in given:
            strays.append(Problem(str(path), STRAY))
        else:
            files.append(File(str(path), folder.name, place=str(path)))
    if not files:
        raise ValueError(
            f"images must lie in folders named like classes, got {paths[0]} in "
            f"{paths[0].resolve().parent.name}; the network knows {', '.join(names[:10])}"
        )
    hold_known([file.label for file in files], names, " ".join(words))
    return files, strays


def _without_its_own(others: Others, run: Path) -> Others:
    """Leave out the images that the run was made of; ValueError if none is left."""
    part = part_of(run, others.source)
    left_out = [*others.left_out]
    source = others.source
    if part.places:
        left_out += [Problem(str(source.file(place)), MADE_OF) for place in part.places]
        source = source.only(sorted(set(range(len(source))) - set(part.places)))
    if not len(source):
        first = left_out[0]
        raise ValueError(
            f"images of {others.name} must be readable and new to the network, got none of "
            f"{len(left_out):,}; {first.path}: {first.reason}"
        )
    said = f"{part.words}{others.words}"
    if left_out:
        said += f" ([{len(left_out):,} more](problems.jsonl) are left out)"
    return others._replace(source=source, words=said, left_out=left_out)
