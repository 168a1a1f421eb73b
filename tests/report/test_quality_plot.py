"""The plot of likelihood against sample quality: its labels do not overlap, and bounds and estimates are told apart."""

import random
from typing import Any
from xml.etree import ElementTree

import pytest

from pyrogen.report.axis_labels import short_name
from pyrogen.report.canvas import canvas
from pyrogen.report.page.labels import Labels
from pyrogen.report.page.quality_plot import COLOURS, quality_svg


def test_labels_overlap_neither_each_other_nor_markers() -> None:
    """Clusters of points with long names."""
    chance = random.Random(0)
    points = [(chance.gauss(0.3, 0.15), chance.gauss(0.3, 0.15)) for _ in range(7)]
    points += [(chance.random(), chance.random()) for _ in range(7)]
    with canvas(350, 330) as figure:
        axes = figure.add_subplot()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        figure.draw_without_rendering()
        labels = Labels(figure, [axes])
        for x, y in points:
            labels.block_point(axes, x, y)
        for k, (x, y) in enumerate(points):
            labels.place(short_name(f"relativistic-gan-{k}", 13), axes, x, y, "black")
        boxes = [text.get_window_extent() for text in figure.texts]
        frame = axes.get_window_extent()
        markers = axes.transData.transform(points)
    assert len(boxes) == len(points)
    for k, box in enumerate(boxes):
        assert not [other for other in boxes[k + 1 :] if box.overlaps(other)]
        assert not [marker for marker in markers if box.contains(*marker)]
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


@pytest.mark.parametrize("measure", ["mmd2", "c2st"])
def test_kinds_have_their_colours_and_real_data_a_band(scorecard: dict[str, Any], measure: str) -> None:
    models, anchors = scorecard["models"], scorecard["anchors"]
    svg = quality_svg(models, anchors, measure)
    ElementTree.fromstring(svg)
    assert svg == quality_svg(models, anchors, measure)
    present = {"exact": models["gaussian"], "lower_bound": models["vae"], "none": models["gan"]}
    assert all(COLOURS[kind] in svg for kind in present)
    assert COLOURS["upper_bound"] not in svg  # the model with an upper bound has no samples
    without = quality_svg(models, {}, measure)
    assert len(without) < len(svg)


def test_there_is_no_empty_plot_or_strip(scorecard: dict[str, Any]) -> None:
    models, anchors = scorecard["models"], scorecard["anchors"]
    assert quality_svg({"vae": models["vae"]}, anchors, "mmd2") is None
    assert quality_svg({}, anchors, "mmd2") is None
    known = {name: models[name] for name in ("vae", "gaussian")}
    axes = [
        quality_svg(given, anchors, "c2st").count('id="axes_')
        for given in (known, models, {"a": models["gan"], "b": models["gan"]})
    ]
    assert axes == [1, 2, 1]


def test_a_failed_model_does_not_compress_the_others(scorecard: dict[str, Any]) -> None:
    """Its likelihood is drawn at the edge, where the others stay as they are."""
    models, anchors = scorecard["models"], scorecard["anchors"]
    good = {name: models[name] for name in ("vae", "gaussian")} | {"more": models["vae"]}
    lost = {
        "lost": {
            "scores": models["vae"]["scores"]
            | {"log_likelihood": {**models["gaussian"]["scores"]["log_likelihood"], "value": -1e6}}
        }
    }
    assert "−1,000,000" not in quality_svg(good | lost, anchors, "mmd2")
    ElementTree.fromstring(quality_svg(good | lost, anchors, "mmd2"))


def test_negative_and_equal_values_can_be_drawn(scorecard: dict[str, Any]) -> None:
    models = {name: {"scores": dict(scorecard["models"][name]["scores"])} for name in ("vae", "gaussian", "gan")}
    for value in (-0.0004, 0.0):
        for model in models.values():
            model["scores"]["mmd2"] = {"value": value, "stderr": 0.0, "kind": "estimate", "unit": "mmd2"}
        ElementTree.fromstring(quality_svg(models, {}, "mmd2"))
