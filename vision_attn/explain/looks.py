"""What a forward pass looked at, and rows of numbers, one a token, that follow these looks."""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.ending import ending_after, last_look_of
from vision_attn.explain.frozen import must_have
from vision_attn.explain.maps import at_least_float32, upsample
from vision_attn.explain.targets import check_classes, told_outputs
from vision_attn.tape import Attended, Tape

Query: TypeAlias = int | tuple[int, int] | None
"""Whose look is followed: a token by number, a patch by (row, column), or None for the head."""

CACHE = 2**20
"""Bytes of attention weights that are worked on at a time."""


class Looks(NamedTuple):
    """Keep what a forward pass looked at: self-attention in order, and how the head reads."""

    layers: list[Attended]
    reading: Attended | None
    """The single query of a head that pools by attention."""


def look(model: Explainable, images: Images, method: str, targets: Targets | None = None) -> Looks:
    """Run the network as far as it looks; ValueError where `method` is undefined.

    A map may be the same for all targets, but these must be classes of the network all the same:
    one that does not tell how many it has runs to its end.
    """
    must_have(model, "readout", "to_map")
    tape, unknown = Tape(), targets is not None and told_outputs(model) is None
    with ending_after(None if unknown else last_look_of(model)):
        logits = model(images, tape=tape)
        if targets is not None:
            check_classes(logits, targets)
    return _looks(model, tape, len(images), method)


def look_and_answer(
    model: Explainable, images: Images, method: str
) -> tuple[Float[Tensor, "batch output"], Looks]:
    """Run the whole network and record its attention; ValueError where `method` is undefined."""
    must_have(model, "readout", "to_map")
    tape = Tape()
    logits = model(images, tape=tape)
    return logits, _looks(model, tape, len(images), method)


def _looks(model: Explainable, tape: Tape, images: int, method: str) -> Looks:
    """Tell layers from the reading; ValueError unless the records can be followed."""
    if not tape.attention:
        raise ValueError(
            f"{method} needs attention, but this network recorded none; use grad_cam, which works "
            f"for any network"
        )
    pooled = model.readout is None
    layers = tape.attention[:-1] if pooled else tape.attention
    reading = tape.attention[-1] if pooled else None
    if reading is not None and reading.query.shape[2] != 1:
        raise ValueError(
            f"{method} needs to know what the head reads: with readout None the last record must "
            f"have one query, got {reading.query.shape[2]}; give the network a readout"
        )
    shapes = [(len(x.query), x.query.shape[2], x.key.shape[2]) for x in layers]
    tokens = tape.attention[-1].key.shape[2]
    if any(shape != (images, tokens, tokens) for shape in shapes):
        raise ValueError(
            f"{method} needs every layer to attend over the same {tokens} tokens of each image, "
            f"got (batch, query, key) = {sorted(set(shapes))}; use grad_cam for windowed or "
            f"pooled attention"
        )
    return Looks(layers, reading)


def weights_of(record: Attended) -> Float[Tensor, "batch head query key"]:
    """Compute the weights of a record in at least float32."""
    query, key = at_least_float32(record.query), at_least_float32(record.key)
    key = key.contiguous()  # a head is a slice: transposing it in the product is slower than a copy
    return record._replace(query=query, key=key).weights()


@torch.no_grad()
def weights_in_pieces(
    record: Attended,
) -> Iterator[tuple[slice, Float[Tensor, "piece head query key"]]]:
    """Compute the weights of a few images at a time, each time into the same memory.

    They are read several times over: a batch of them, which no processor's cache holds, takes twice
    as long. Accelerators take all images together.
    """
    query, key = at_least_float32(record.query), at_least_float32(record.key)
    # Heads may share keys, and images queries, as the fused kernel allows.
    batch, heads = torch.broadcast_shapes(query.shape[:2], key.shape[:2])
    query, key = (x.expand(batch, heads, -1, -1) for x in (query, key))
    queries = query.shape[2]
    one = query.element_size() * heads * queries * key.shape[2]
    size = max(CACHE // max(one, 1), 1) if query.device.type == "cpu" else batch
    memory = query.new_empty(min(size, batch), heads, queries, key.shape[2])
    for start in range(0, batch, size):
        here = slice(start, min(start + size, batch))
        weights = memory[: here.stop - start]
        scores, asked, known = (x.flatten(0, 1) for x in (weights, query[here], key[here]))
        torch.baddbmm(scores, asked, known.mT, beta=0, alpha=record.scale, out=scores)
        if (bias := record.bias) is not None:
            weights += bias[here] if bias.ndim == 4 and len(bias) > 1 else bias
        yield here, torch.softmax(weights, -1, out=weights)


def starting_row(
    model: Explainable,
    looks: Looks,
    image_size: tuple[int, int],
    query: Query,
    reading: Float[Tensor, "batch token"] | None,
) -> Float[Tensor, "batch token"]:
    """Say how much each token after the last layer counts: for the head, or for one query alone.

    `reading` is the row of a head that pools by attention; None for one with a readout.
    """
    if query is None and reading is not None:
        return reading
    last = looks.reading or looks.layers[-1]
    like, tokens = at_least_float32(last.query.detach()), last.key.shape[2]
    grid = token_grid(model, tokens, image_size, like.device)
    if query is None:
        row = _readout(model, tokens, grid)
    else:
        row = torch.zeros(tokens, device=like.device)
        row[_index(query, tokens, grid)] = 1
    return row.to(like).expand(len(like), -1)


def token_grid(
    model: Explainable, tokens: int, image_size: tuple[int, int], device: torch.device
) -> Int[Tensor, "row column"]:
    """Number the tokens by their place in the image; prefix tokens have none."""
    numbers = torch.arange(tokens, dtype=torch.float32, device=device)
    return model.to_map(numbers[None, :, None], image_size)[0, 0].long()


def _readout(
    model: Explainable, tokens: int, grid: Int[Tensor, "row column"]
) -> Float[Tensor, " token"]:
    """Take the network's readout, brought to this number of tokens where images differ in size."""
    readout = model.readout
    assert readout is not None  # `look` made sure
    if len(readout) == tokens:
        return readout
    prefix = tokens - grid.numel()
    patches = readout[prefix:]
    if not torch.all(patches == patches[0]):
        raise ValueError(
            f"a readout of {len(readout)} tokens that tells patches apart cannot be brought to "
            f"{tokens} tokens; give images of the size the network was built for"
        )
    share = patches.sum() / grid.numel()
    return torch.cat([readout[:prefix], share.expand(grid.numel())])


def _index(query: int | tuple[int, int], tokens: int, grid: Int[Tensor, "row column"]) -> int:
    rows, columns = grid.shape
    if isinstance(query, int):
        if not 0 <= query < tokens:
            raise ValueError(f"query must be a token in [0, {tokens}), got {query}")
        return query
    if not (0 <= query[0] < rows and 0 <= query[1] < columns):
        raise ValueError(f"query must be a patch of the {rows}x{columns} grid, got {query}")
    return int(grid[query])


def row_map(
    model: Explainable, row: Float[Tensor, "batch token"], image_size: tuple[int, int]
) -> Maps:
    """Lay one number a token out at image resolution; prefix tokens are dropped."""
    return upsample(model.to_map(row.unsqueeze(-1), image_size)[:, 0], image_size)


def look_from(
    row: Float[Tensor, "batch token"], record: Attended
) -> Float[Tensor, "batch head token"]:
    """Follow rows that add up over queries through one layer, computing only queries in use."""
    used = row.any(0)
    if not used.all():
        record, row = asked_by(record, used), row[:, used]
    rows = row[:, None, None]
    return torch.cat([rows[here] @ weights for here, weights in weights_in_pieces(record)])[:, :, 0]


def asked_by(record: Attended, queries: Bool[Tensor, " query"]) -> Attended:
    """Keep only some queries of a record; the weights come from nothing else."""
    bias = record.bias
    if bias is not None and bias.shape[-2] > 1:
        bias = bias[..., queries, :]
    return record._replace(query=record.query[:, :, queries], bias=bias)
