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
from vision_attn.data.files import File, read_csv
from vision_attn.data.finding import find
from vision_attn.data.images import Photographs, Split, TaggedSplit
from vision_attn.data.multilabel import list_tagged
from vision_attn.data.reading import CHUNK, Files, processes, read_all
from vision_attn.data.renamed import hold_known, renamed
from vision_attn.data.splits import SplitName
from vision_attn.recipe import read
from vision_attn.recorded import CONFIG, read_past
from vision_attn.spec import Spec

MADE_OF = "it trained the network, or chose its weights"
STRAY = "not in the folder of a class"
RECIPES, TABLE = (".yaml", ".yml"), ".csv"


class Others(NamedTuple):
    """The images of other data that judge a run."""

    origin: Path
    """The recipe, the table, or the folder that holds all files."""
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
    """Open other data for the run's network: of RECIPE.yaml, of TABLE.csv, or of class folders.

    A table has the columns that `data.name=csv` or, for several labels, `csv_multilabel` takes; it
    judges by its rows of the `split`, by default those of the test or, without any, by all. Images
    are prepared as `spec` says, whatever the recipe says of that; `overrides` change the recipe.
    What lies in the folders `own` is no data. Images that made the run, told by content, are left
    out. Raises ValueError for classes that the network does not know, and where nothing is left.
    """
    kinds = {Path(word).suffix for word in words} & {*RECIPES, TABLE}
    if kinds and len(words) > 1:
        raise ValueError(f"a recipe or a table stands alone as the data, got {' '.join(words)}")
    if kinds & {*RECIPES}:
        others = _of_recipe(Path(words[0]), overrides, spec, split)
    elif overrides or (split and not kinds):
        given = " ".join([*overrides, *(["--split", split] if split else [])])
        raise ValueError(
            f"settings are for the data of a recipe, splits for a recipe or a table, got {given}"
        )
    elif kinds:
        others = _of_table(Path(words[0]), spec, run, split)
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
    words = _untold(data.spec.names, spec)
    return Others(path.resolve(), split, source, words, data.problems, config.workers)


def _untold(named: Sequence[str], spec: Spec) -> str:
    """Say which of several labels the data do not name, for nobody may have looked for them."""
    untold = sorted(set(spec.names) - set(named)) if spec.several else []
    count = "count" if len(untold) > 1 else "counts"
    return f"; it does not name {', '.join(untold)}, which {count} as absent" if untold else ""


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


def _of_table(path: Path, spec: Spec, run: Path, split: SplitName | None) -> Others:
    if spec.several:
        separator = getattr(read_past(run / CONFIG).data, "separator", "|")
        files, names, tags = list_tagged(str(path), separator)
        borne = [[name for name, has in zip(names, row, strict=True) if has] for row in tags]
    else:
        files, names = read_csv(str(path)), ()
        borne = [[file.label] for file in files]
    there = {file.split for file in files}
    wanted = split or ("test" if "test" in there else None)
    if split and split not in there:
        raise ValueError(f"{path} has no rows of the split {split}; leave --split out")
    chosen = [place for place, file in enumerate(files) if wanted in (None, file.split)]
    borne = [borne[place] for place in chosen]
    hold_known([name for names in borne for name in names], spec.names, str(path))
    others = _opened([files[place] for place in chosen], borne, spec, path, wanted or "test")
    return others._replace(words=_untold(names, spec))


def _of_files(paths: Sequence[Path], words: Sequence[str], spec: Spec) -> Others:
    if spec.several:
        raise ValueError(
            f"the network tells any number of labels an image, which folders cannot, got "
            f"{' '.join(words)}; give a table with the columns path and labels, or a recipe with "
            f"data.name=csv_multilabel"
        )
    files, strays = _sorted_out(paths, words, spec.names)
    origin = Path(os.path.commonpath([path.resolve().parent for path in paths]))
    others = _opened(files, [[file.label] for file in files], spec, origin, "test")
    return others._replace(left_out=strays + others.left_out)


def _opened(
    files: Sequence[File],
    borne: Sequence[Sequence[str]],
    spec: Spec,
    origin: Path,
    split: SplitName,
) -> Others:
    """Read files that bear some labels, all of them known to the network, as it needs them."""
    reader = Files(files, spec.channels, math.ceil(max(spec.image_size) / spec.crop))
    _, digests, problems = read_all(reader, spec, stored=False)
    bad = {problem.path for problem in problems}
    usable = np.array([i for i, file in enumerate(files) if file.path not in bad], np.int64)
    reader = reader._replace(digests=digests)
    source: Photographs
    if spec.several:
        tags = np.array([[name in own for name in spec.names] for own in borne])
        source = TaggedSplit(reader, tags.astype(np.float32), usable, spec)
    else:
        labels = np.array([spec.names.index(name) for (name,) in borne], np.int64)
        source = Split(reader, labels, usable, spec)
    workers = processes(len(files) // CHUNK)
    return Others(origin.resolve(), split, source, "", problems, workers)


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
