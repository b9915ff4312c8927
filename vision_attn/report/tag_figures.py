"""Figures of several labels an image: how well each is recognised, how far all can be believed."""

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from vision_attn.report.calibration import distance
from vision_attn.report.evaluation_figures import diagrams
from vision_attn.report.figures import COLOURS, FAINT, STYLE
from vision_attn.report.tag_judgement import LabelScores, TagJudgement

MOST = 60
"""Labels that are drawn, the least well recognised ones."""


def labels_figure(labels: Sequence[LabelScores]) -> Figure:
    """Draw the average precision of labels with its interval, over the share of their images."""
    scored = [(one.average_precision, one) for one in labels if one.average_precision is not None]
    shown = sorted(scored, key=lambda pair: pair[0].value)[:MOST]
    with rc_context(STYLE):
        figure = Figure(figsize=(6, 0.9 + 0.24 * len(shown)), layout="constrained")
        ax = figure.subplots()
        for place, (number, one) in enumerate(shown):
            ax.barh(place, one.images / number.images, color=FAINT, alpha=0.35, height=0.7)
            ax.plot([number.low, number.high], [place, place], color=COLOURS[0], linewidth=1.5)
            ax.plot(number.value, place, "o", color=COLOURS[0], markersize=4)
        ax.set_yticks(range(len(shown)), [one.name for _, one in shown])
        ax.set(xlim=(0, 1.01), ylim=(-0.7, len(shown) - 0.3))
        ax.set_xlabel("average precision, 95 % interval; bar: share of images, reached by chance")
        ax.tick_params(axis="y", length=0)
    return figure


def believed_figure(found: TagJudgement) -> Figure:
    """Draw how often labels apply over the probability that they do, all of them at once."""
    title = f"calibration error {100 * distance(found.bins):.1f} %"
    return diagrams({title: found.bins}, ("probability", "share that applies", "pairs"))
