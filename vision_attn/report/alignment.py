"""Figures of sentences: which token each word looked at, and how far back words still feel them."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vision_attn.report.figures import FAINT, STYLE, colour

CELL = 0.24
"""Inches a side of a cell."""
LEAST = 3.6
"""Inches of the line below."""


def alignment_figure(
    read: Sequence[str], said: Sequence[str], weights: Float[np.ndarray, "word token"]
) -> Figure:
    """Draw the weight of every token that was read for every word that was said.

    As in Bahdanau 2015, figure 3 (arXiv:1409.0473).
    """
    with rc_context(STYLE):
        size = max(CELL * len(read) + 1.0, LEAST), CELL * len(said) + 0.9
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.imshow(weights[:, : len(read)], cmap="gray", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(len(read)), read)
        axes.set_yticks(range(len(said)), said)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xlabel("looked at by the words on the left, black 0, white 1", color=FAINT, size=8)
    return figure


def distance_figure(norms: Mapping[str, Float[np.ndarray, "sentence word"]]) -> Figure:
    """Draw mean gradient norms against the number of words between a sentence and a word.

    Values that are not finite are words that a sentence does not have.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.2), layout="constrained")
        axes = figure.subplots()
        for number, (name, values) in enumerate(norms.items()):
            means = np.nanmean(values, axis=0)
            steps = np.arange(1, len(means) + 1)
            axes.plot(steps, means, color=colour(number), marker="o", markersize=3.5, label=name)
        axes.set_yscale("log")
        axes.set_xlabel("words from the sentence that was read")
        axes.set_ylabel("norm of the Jacobian")
        axes.set_xlim(0.5, len(means) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        axes.legend(frameon=False)
    return figure
