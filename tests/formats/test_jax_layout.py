"""The original .npz files: random arrays in the documented layout, against the paper in numpy."""

import numpy as np
import pytest
import torch
from tiny_formats import NAMES, files, noise, reopened, tiny, write


def jax_logits(parameters, images):
    """Read the .npz as its paper does, in float64, with plain products of arrays."""
    parameters = {name: x.astype(np.float64) for name, x in parameters.items()}

    def scaled(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        normalised = (x - mean) / np.sqrt(variance + 1e-6)
        return normalised * parameters[f"{name}/scale"] + parameters[f"{name}/bias"]

    def dense(x, name):
        return x @ parameters[f"{name}/kernel"] + parameters[f"{name}/bias"]

    def projected(x, name):
        kernel, bias = parameters[f"{name}/kernel"], parameters[f"{name}/bias"]
        return np.einsum("btd,dhe->bthe", x, kernel) + bias

    def attended(x, name):
        query, key, value = (projected(x, f"{name}/{part}") for part in ("query", "key", "value"))
        scores = np.einsum("bqhe,bkhe->bhqk", query, key) / np.sqrt(query.shape[-1])
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        context = np.einsum("bhqk,bkhe->bqhe", weights, value)
        kernel, bias = parameters[f"{name}/out/kernel"], parameters[f"{name}/out/bias"]
        return np.einsum("bqhe,hed->bqd", context, kernel) + bias

    def gelu(x):
        return x * (1 + torch.erf(torch.from_numpy(x) / 2**0.5).numpy()) / 2

    pixels = images.permute(0, 2, 3, 1).double().numpy()
    kernel = parameters["embedding/kernel"]
    size, (batch, height, width, channels) = kernel.shape[0], pixels.shape
    patches = pixels.reshape(batch, height // size, size, width // size, size, channels)
    tokens = np.einsum("brycxi,yxid->brcd", patches, kernel) + parameters["embedding/bias"]
    tokens = tokens.reshape(batch, -1, kernel.shape[-1])
    tokens = np.concatenate([np.repeat(parameters["cls"], batch, 0), tokens], 1)
    tokens = tokens + parameters["Transformer/posembed_input/pos_embedding"]
    for block in range(2):
        name = f"Transformer/encoderblock_{block}"
        mixed = attended(
            scaled(tokens, f"{name}/LayerNorm_0"), f"{name}/MultiHeadDotProductAttention_1"
        )
        tokens = tokens + mixed
        hidden = gelu(dense(scaled(tokens, f"{name}/LayerNorm_2"), f"{name}/MlpBlock_3/Dense_0"))
        tokens = tokens + dense(hidden, f"{name}/MlpBlock_3/Dense_1")
    return dense(scaled(tokens, "Transformer/encoder_norm")[:, 0], "head")


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_random_arrays_in_the_documented_layout_have_the_logits_of_the_paper(prefix, tmp_path):
    dim, heads, hidden, grid = 12, 3, 48, 25
    shapes = {"cls": (1, 1, dim), "embedding/kernel": (7, 7, 3, dim), "embedding/bias": (dim,)}
    shapes["Transformer/posembed_input/pos_embedding"] = (1, grid + 1, dim)
    for block in range(2):
        name = f"Transformer/encoderblock_{block}"
        attention = f"{name}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (dim, heads, dim // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, dim // heads)
        shapes |= {f"{attention}/out/kernel": (heads, dim // heads, dim)}
        shapes |= {f"{attention}/out/bias": (dim,)}
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{name}/{norm}/{kind}": (dim,) for kind in ("scale", "bias")}
        for layer, sizes in (("Dense_0", (dim, hidden)), ("Dense_1", (hidden, dim))):
            shapes |= {f"{name}/MlpBlock_3/{layer}/kernel": sizes}
            shapes |= {f"{name}/MlpBlock_3/{layer}/bias": sizes[1:]}
    shapes |= {f"Transformer/encoder_norm/{kind}": (dim,) for kind in ("scale", "bias")}
    shapes |= {"head/kernel": (dim, len(NAMES)), "head/bias": (len(NAMES),)}
    random = np.random.default_rng(7)
    arrays = {name: random.normal(0, 0.2, x).astype(np.float32) for name, x in shapes.items()}
    np.savez(tmp_path / "b.npz", **{prefix + name: x for name, x in arrays.items()})
    model, said, told = reopened(tmp_path / "b.npz", "plain")
    assert not said
    assert told.unseen == {"heads": 3, "norm_eps": 1e-6}
    assert told.mean == (0.5, 0.5, 0.5)
    expected = torch.from_numpy(jax_logits(arrays, noise()))
    with torch.no_grad():
        torch.testing.assert_close(model(noise()).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_head_behind_a_representation_layer_is_left_out(tmp_path):
    _, trained = tiny("plain")
    folder = write(tmp_path, files("jax", trained))
    arrays = dict(np.load(folder / "model.npz"))
    arrays |= {"pre_logits/kernel": np.zeros((12, 12), np.float32)}
    np.savez(folder / "model.npz", **arrays)
    _, said, _ = reopened(folder, "plain")
    assert "head, pre_logits: left out, our head is one linear layer" in said
