"""Where a moving eye goes and what each glimpse is worth; `vision-attn glimpses`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from vision_attn.commands.views import views
from vision_attn.data.splits import SplitName
from vision_attn.engine.distributed import find
from vision_attn.engine.run import Run
from vision_attn.report.glimpses import glimpse_report
from vision_attn.report.measure import Subject, check_alike
from vision_attn.trained import load_model


def glimpses(
    folder: Path,
    out: Path | None = None,
    *,
    against: Sequence[Path] = (),
    split: SplitName | None = None,
    images: int = 8,
    device: str = "auto",
) -> Path:
    """Report where the eye of a run goes and what each glimpse is worth, and give the report.

    Trails are drawn over the first `images` images; `against` are runs on the same data that see
    the whole image. `split` is that of the test, or of validation where the data has no other,
    unless given. Written to `out`, by default the folder glimpses of the run.
    """
    place = find(device).device
    subjects = [
        Subject(run.name, Run.open(run), load_model(run)[0].to(place), ())
        for run in (folder, *against)
    ]
    check_alike(subjects)
    split, evidence = views([folder, *against], split, images)
    out = folder / "glimpses" if out is None else out
    again = ["vision-attn", "glimpses", str(folder), "--out", str(out), "--split", split]
    again += [word for run in against for word in ("--against", str(run))]
    again += ["--images", str(images)]
    command = shlex.join(again)
    return glimpse_report(subjects[0], subjects[1:], evidence, out, split=split, command=command)
