"""Short fingerprints of contents: what was explained, and by which weights."""

import hashlib

import torch
from torch import nn

LENGTH = 16
"""Hexadecimal digits: 64 bits, ample to tell files apart."""


def of_bytes(content: bytes) -> str:
    """Fingerprint a file's content."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def of_model(model: nn.Module) -> str:
    """Fingerprint a network's weights and buffers, their names and types included."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # Through bytes, since numpy has no bfloat16; reshape, since a scalar has no view.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:LENGTH]
