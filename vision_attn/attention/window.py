"""Which keys a query may look at: all of them, or those near a centre on the grid they lie on.

A sequence is a grid of one row. Cell i of an axis has its middle at i + 0.5, so that an axis of n
cells reaches from 0 to n.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Grid: TypeAlias = tuple[int, int]
"""Rows and columns."""
Offsets: TypeAlias = tuple[Float[Tensor, "batch query row"], Float[Tensor, "batch query column"]]
"""In cells, from a centre down and across."""


class Places(NamedTuple):
    """Say where keys lie: cells of a grid in reading order, of which some may be padding."""

    grid: Grid
    hidden: Bool[Tensor, "batch key"] | None = None
    """Keys of a sequence (a grid of one row) that are padding."""

    def extent(self, like: Tensor) -> Float[Tensor, "batch xy"] | Float[Tensor, "1 xy"]:
        """Measure (columns, rows) in cells, padding left out."""
        if self.hidden is None:
            return like.new_tensor([self.grid[::-1]], dtype=_counting(like))
        columns = (~self.hidden).sum(1).to(_counting(like))
        return torch.stack([columns, torch.ones_like(columns)], 1)

    def axes(self, like: Tensor) -> tuple[Float[Tensor, " row"], Float[Tensor, " column"]]:
        """Give the middles of rows and of columns, in cells from the top left corner."""
        dtype, device = _counting(like), like.device
        rows, columns = (torch.arange(n, dtype=dtype, device=device) + 0.5 for n in self.grid)
        return rows, columns

    def middles(self, like: Tensor) -> Float[Tensor, "key xy"]:
        """Give the middle of every cell, in cells from the top left corner."""
        return torch.cartesian_prod(*self.axes(like)).flip(1)


class View(NamedTuple):
    """What a window leaves of the keys; None where it leaves all as they are."""

    hidden: Bool[Tensor, "batch query key"] | None = None
    """Keys that get no weight: left out of the softmax."""
    factor: Float[Tensor, "batch query key"] | None = None
    """Multiplies the weights after the softmax."""

    def weigh(
        self, scores: Float[Tensor, "batch head query key"]
    ) -> Float[Tensor, "batch head query key"]:
        """Turn scores into weights: a softmax over the keys that are seen, times the factor."""
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden.unsqueeze(1), -torch.inf)
        weights = scores.softmax(-1)
        return weights if self.factor is None else weights * self.factor.unsqueeze(1).to(weights)


class Window(nn.Module, ABC):
    """Say for every query which keys it may look at."""

    @abstractmethod
    def forward(self, query: Float[Tensor, "batch query dim"], places: Places, word: int) -> View:
        """Give the view of queries that are about to name word number `word`, from 0."""


class Everywhere(Window):
    """See every key: global attention."""

    def forward(self, query: Float[Tensor, "batch query dim"], places: Places, word: int) -> View:
        return View(None if places.hidden is None else places.hidden.unsqueeze(1))


class Monotonic(Window):
    """See a window that moves on by `pace` cells a word in reading order, and stops at the end.

    On a grid it reaches `reach` cells to all four sides.

    Luong 2015, section 3.2, local-m (arXiv:1508.04025), there with a pace of 1.
    """

    def __init__(self, reach: int, pace: float = 1.0):
        super().__init__()
        self.reach, self.pace = reach, pace

    def forward(self, query: Float[Tensor, "batch query dim"], places: Places, word: int) -> View:
        extent = places.extent(query)
        last = extent.prod(1) - 1
        cell = last.clamp_max(int(word * self.pace))
        across = extent[:, 0]
        centre = torch.stack([cell % across, (cell / across).floor()], 1) + 0.5
        return View(_outside(_offsets(centre.unsqueeze(1), places), places, self.reach))


class Predictive(Window):
    """See a window around a predicted centre, with less weight the farther from it.

    Centre: extent · sigmoid(V tanh(W s)), here in both directions of the grid; the Gaussian around
    it has half of `reach` for its standard deviation, and the weights then sum to less than 1.
    Differentiable in the centre through the Gaussian.

    Luong 2015, equations 9 and 10, local-p (arXiv:1508.04025).
    """

    def __init__(self, query_dim: int, reach: int):
        super().__init__()
        self.reach = reach
        self.hidden = nn.Linear(query_dim, query_dim, bias=False)
        self.centre = nn.Linear(query_dim, 2, bias=False)

    def centres(
        self, query: Float[Tensor, "batch query dim"], places: Places
    ) -> Float[Tensor, "batch query xy"]:
        """Predict where to look, in cells from the top left corner."""
        scores = self.centre(self.hidden(query).tanh())
        shares = scores.to(_counting(scores)).sigmoid()
        return shares * places.extent(shares).unsqueeze(1)

    def forward(self, query: Float[Tensor, "batch query dim"], places: Places, word: int) -> View:
        offsets = _offsets(self.centres(query, places), places)
        down, across = ((x.square() * (-2 / self.reach**2)).exp() for x in offsets)
        factor = (down.unsqueeze(3) * across.unsqueeze(2)).flatten(2)
        return View(_outside(offsets, places, self.reach), factor)


def _counting(like: Tensor) -> torch.dtype:
    """Give at least 32 bits: halves of cells above 128 are none of bf16's numbers."""
    return torch.promote_types(like.dtype, torch.float32)


def _offsets(centre: Float[Tensor, "batch query xy"], places: Places) -> Offsets:
    """Measure from each centre to the middles of the rows, and of the columns, of the grid."""
    rows, columns = places.axes(centre)
    return rows - centre[..., 1:], columns - centre[..., :1]


def _outside(offsets: Offsets, places: Places, reach: int) -> Bool[Tensor, "batch query key"]:
    """Mark the keys farther than `reach` from a centre along either axis, and padding."""
    down, across = (x.detach().abs() > reach for x in offsets)
    outside = (down.unsqueeze(3) | across.unsqueeze(2)).flatten(2)
    return outside if places.hidden is None else outside | places.hidden.unsqueeze(1)
