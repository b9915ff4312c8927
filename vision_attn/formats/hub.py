"""Weights from and to the Hugging Face hub; what was once downloaded needs no network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_attn.formats.checkpoint import Checkpoint
from vision_attn.formats.timm import unseen
from vision_attn.formats.told import from_timm
from vision_attn.rules import nearest

FETCHED = ("*.json", "model.safetensors", "model-*.safetensors")
"""Settings and safetensors, never a pickle."""


def timm_network(
    name: str,
    *,
    pretrained: bool = True,
    remedy: str = "",
    settings: Mapping[str, int] | None = None,
) -> Any:
    """Build a timm network, by default with its pretrained weights.

    Raises ValueError, which names the remedy, if timm does not know it or weights cannot be had.
    """
    import timm  # takes seconds, and most commands do without
    from huggingface_hub import snapshot_download

    if not timm.is_model(name):
        near = nearest(name.partition(".")[0], timm.list_models())
        hint = f"; did you mean timm:{near}?" if near else ""
        raise ValueError(f"timm knows no network {name}{hint}")
    try:
        known = timm.get_pretrained_cfg(name)
        if pretrained and not (known and known.has_weights):
            raise ValueError(f"timm has no weights of {name}; {remedy}")
        if pretrained and known and known.hf_hub_id:
            # Without a network this fails at once, where timm tries for most of a minute.
            snapshot_download(known.hf_hub_id, allow_patterns=["config.json"])
        return timm.create_model(name, pretrained=pretrained, **(settings or {}))
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the weights of timm:{name} could not be downloaded; {remedy} ({reason})"
        ) from error
    except RuntimeError as error:  # such as an unknown tag behind the dot
        raise ValueError(f"timm cannot build {name}: {error}") from error


def from_timm_hub(name: str) -> Checkpoint:
    """Take the weights and the preprocessing of a pretrained timm network; raises as above."""
    network = timm_network(name, remedy="give a file or folder of weights as init")
    told = from_timm(network.pretrained_cfg, unseen(network))
    return Checkpoint(state=network.state_dict(), told=told)


def fetch(name: str) -> Path:
    """Download settings and weights of ORG/MODEL, and give the folder in the hub's cache.

    Raises ValueError if there is no such repository, or no way to it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except (OSError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"hf:{name} could not be downloaded and is not in the cache of the hub; give a file "
            f"or folder of weights as init ({reason})"
        ) from error


def push(folder: Path, name: str) -> str:
    """Upload a folder to the repository ORG/NAME, made if need be, and give its address.

    Raises ValueError if the hub refuses, such as for want of a token.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi()
    try:
        address = api.create_repo(name, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder)
    except (OSError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{folder} is written but could not be pushed to {name}; see `hf auth login` ({reason})"
        ) from error
    return str(address)
