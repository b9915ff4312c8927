"""The folder that transformers' `from_pretrained` reads."""

import json
from pathlib import Path
from typing import Any

from vision_attn.formats import transformers, transformers_resnet
from vision_attn.formats.files import safetensors
from vision_attn.formats.format import Format, Logits
from vision_attn.formats.told import RESAMPLING
from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig
from vision_attn.spec import Spec

OPENING = """\
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("FOLDER")
network = AutoModelForImageClassification.from_pretrained("FOLDER").eval()"""


def files(trained: Trained) -> dict[str, bytes]:
    """Write weights, settings and preprocessing.

    Raises ValueError for what no class of transformers can hold.
    """
    resnet = isinstance(trained.config, ResNetConfig)
    state, settings = (transformers_resnet if resnet else transformers).theirs(trained)
    names = dict(enumerate(trained.spec.names))
    settings |= {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    if trained.spec.several:
        settings["problem_type"] = "multi_label_classification"
    return {
        "model.safetensors": safetensors(state),
        "config.json": _json(settings),
        "preprocessor_config.json": _json(preprocessing(trained.spec)),
    }


def preprocessing(spec: Spec) -> dict[str, Any]:
    """Say how images arrive: the shorter side resized, the centre cut out, then normalised."""
    height, width = spec.image_size
    resample = {name: number for number, name in RESAMPLING.items()}
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": round(min(height, width) / spec.crop)},
        "resample": resample[spec.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
        "do_convert_rgb": spec.channels == 3,
    }


def _json(entries: dict[str, Any]) -> bytes:
    return (json.dumps(entries, indent=2) + "\n").encode()


def reopen(folder: Path, trained: Trained) -> Logits:
    """Open what `files` wrote."""
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    return lambda images: network(images).logits


FORMAT = Format(
    write=lambda trained, _: files(trained),
    reopen=reopen,
    package="transformers",
    library="transformers",
    opening=lambda _: OPENING,
    probabilities="probabilities = network(images).logits.sigmoid()",
)
