"""The page of an evaluation: confusions and calibration to click on, mistakes with their maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vision_attn.report.calibration import Calibration
from vision_attn.report.evaluation_text import images_of
from vision_attn.report.figures import title
from vision_attn.report.interval import Estimate
from vision_attn.report.judgement import ClassScores
from vision_attn.report.measure import Subject
from vision_attn.report.packing import Store, write_page
from vision_attn.report.page import contents, places

if TYPE_CHECKING:
    from vision_attn.report.evaluation import Evaluation


def evaluation_page(found: Evaluation, subject: Subject, folder: Path) -> Path:
    """Write report.html beside the export of the mistakes; it needs no other file."""
    store = Store()
    content = contents(folder / "mistakes", store, len(found.mistakes))
    judged = found.judgement
    confusion = judged.confusion.numpy().astype(np.uint32)
    content["evaluation"] = {
        "judges": images_of(found.split, found.of),
        "images": judged.accuracy.images,
        "numbers": _numbers(found),
        "names": [one.name for one in judged.classes],
        "confusion": store.add(confusion.tobytes()),
        "classes": [_class(one) for one in judged.classes],
        "calibrations": [_calibration(one) for one in found.calibrations],
        "mistakes": [{"path": one.path, "pair": list(one.pair)} for one in found.mistakes],
    }
    heading = f"How well {title(subject.name)} classifies"
    words = places(heading, content, store)
    return write_page(folder / "report.html", "evaluation_page", words, scripts=["page", "judged"])


def _numbers(found: Evaluation) -> list[list[Any]]:
    """Give name, value and interval of what the page has at its top."""
    judged = found.judgement
    shown: dict[str, Estimate | None] = {
        "accuracy": judged.accuracy,
        "five guesses": judged.accuracy_top5,
        "macro F1": judged.macro_f1,
    }
    return [[name, *number[:3]] for name, number in shown.items() if number is not None]


def _class(one: ClassScores) -> dict[str, Any]:
    recall = one.recall
    return {
        "name": one.name,
        "images": one.images,
        "recognised": None if recall is None else recall.value,
        "interval": None if recall is None else [recall.low, recall.high],
        "precision": one.precision,
        "F1": one.f1,
    }


def _calibration(one: Calibration) -> dict[str, Any]:
    return {
        "temperature": one.temperature,
        "error": one.error,
        "bins": [list(each) for each in one.bins],
    }
