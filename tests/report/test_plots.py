"""Plots: pixels of image grids, axes of curves, and no change of global settings."""

import gc
import io
import subprocess
import sys
import weakref
from math import inf, nan
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from pyrogen.data.shown.image_grid import GAP, GAP_COLOUR, MISSING_COLOUR
from pyrogen.errors import DataError, RunError
from pyrogen.report import curves_png, curves_svg, grid_png, histogram_png, samples_png, scatter_png, table_png
from pyrogen.report.canvas import GENERATED, PANEL, canvas, figures_freed, png
from pyrogen.report.curve_data import LogRows, group_curves, robust_limits, summarise_curve


def pixels(png: bytes) -> np.ndarray:
    """Decode a PNG to ``(height, width, 3)``."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def bluish(picture: np.ndarray) -> np.ndarray:
    """A mask of generated points; axes and real points are grey."""
    red, _, blue = picture.astype(int).transpose(2, 0, 1)
    return blue - red > 60


class TestGrid:
    """Image grids."""

    def test_every_pixel_becomes_a_square(self) -> None:
        """Image ``i`` is in row ``i // columns``, and its pixels keep their order."""
        images = torch.zeros(5, 1, 8, 8)
        images[4, 0, 2, 7] = 1.0
        images[3, 0, 0, 0] = 0.5
        sheet = pixels(grid_png(images, columns=3))
        side = 8 * 5 + GAP
        assert sheet.shape == (2 * side - GAP, 3 * side - GAP, 3)
        square = sheet[side + 10 : side + 15, side + 35 : side + 40]
        assert (square == 255).all()
        assert (sheet == 255).all(2).sum() == 25
        assert (sheet[side : side + 5, :5] == 128).all()
        assert (sheet[:40, 40:42] == GAP_COLOUR).all()
        assert (sheet[side:, 2 * side :] == GAP_COLOUR).all()

    def test_missing_values_are_violet(self) -> None:
        """NaN is violet; infinity and values outside [0, 1] are clipped."""
        images = torch.tensor([nan, inf, -inf, 7.0]).reshape(1, 1, 2, 2)
        sheet = pixels(grid_png(images, scale=1))
        assert sheet[0, 0].tolist() == list(MISSING_COLOUR)
        assert sheet[0, 1].tolist() == [255] * 3
        assert sheet[1].tolist() == [[0] * 3, [255] * 3]

    def test_colour_keeps_its_channels(self) -> None:
        """A red image is drawn in red."""
        images = torch.zeros(2, 3, 32, 32)
        images[1, 0] = 1.0
        sheet = pixels(grid_png(images, columns=2, scale=2))
        assert sheet.shape == (64, 130, 3)
        assert sheet[10, 100].tolist() == [255, 0, 0]

    @pytest.mark.parametrize(("side", "drawn"), [(8, 40), (28, 56), (32, 64), (64, 64)])
    def test_small_images_are_enlarged_by_a_whole_number(self, side: int, drawn: int) -> None:
        """Small images are enlarged by an integer factor, without interpolation."""
        assert pixels(grid_png(torch.rand(1, 1, side, side))).shape[:2] == (drawn, drawn)

    @pytest.mark.parametrize(
        "images", [torch.rand(8, 8), torch.rand(1, 2, 8, 8), torch.rand(0, 1, 8, 8), torch.ones(1, 1, 8, 8).byte()]
    )
    def test_other_shapes_are_rejected(self, images: torch.Tensor) -> None:
        """The error names the shape that was given."""
        with pytest.raises(DataError, match="of shape"):
            grid_png(images)


class TestSamples:
    """Plots of points, numbers and vectors."""

    def test_the_axes_have_equal_scales(self) -> None:
        """A square of generated points is drawn as a square, although the real ones fill a wide rectangle."""
        corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        picture = pixels(scatter_png(corners, torch.tensor([[-4.0, -1.0], [4.0, 1.0]])))
        assert picture.shape == (2 * PANEL, 2 * PANEL, 3)
        rows, columns = np.nonzero(bluish(picture[60:]))
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 3
        assert np.ptp(rows) > 80

    def test_outliers_do_not_change_the_limits(self) -> None:
        """The axis limits are those of the real data; non-finite samples are left out."""
        real, drawn = torch.randn(200, 2), torch.zeros(2, 2)
        strays = torch.tensor([[1e6, 0.0], [nan, 0.0], [0.0, -inf]])
        spot, same = (
            np.argwhere(bluish(pixels(scatter_png(points, real)))[60:])
            for points in (drawn, torch.cat([drawn, strays]))
        )
        assert np.abs(spot.mean(0) - same.mean(0)).max() < 12

    def test_each_shape_has_its_plot(self) -> None:
        """Image grids, scatter plots, histograms, tables."""
        assert pixels(samples_png(torch.rand(4, 1, 8, 8))).shape == (82, 82, 3)
        assert samples_png(torch.ones(3, 2)) == scatter_png(torch.ones(3, 2))
        numbers = torch.linspace(0, 1, 50)
        assert samples_png(numbers) == samples_png(numbers[:, None]) == histogram_png(numbers)
        assert bluish(pixels(samples_png(numbers, numbers))).any()
        rows, real = torch.randn(30, 10), torch.randn(50, 10)
        assert samples_png(rows, real) == table_png(rows, real, across=4)
        with pytest.raises(DataError, match="expected samples"):
            samples_png(torch.rand(2, 3, 4))

    @pytest.mark.parametrize("samples", [torch.full((5, 2), nan), torch.full((5,), inf), torch.full((5, 9), nan)])
    def test_samples_of_a_diverged_model_can_be_plotted(self, samples: torch.Tensor) -> None:
        """The plot is empty except for the count of missing samples."""
        assert samples_png(samples, samples.nan_to_num(0, 1, 1))
        assert samples_png(samples)


class TestCurves:
    """Training curves."""

    def test_quantities_of_one_unit_share_an_axis(self, explicit_rows: LogRows, game_rows: LogRows) -> None:
        """Training and validation share an axis, losses and likelihoods do not, and times are not drawn."""
        groups = group_curves(explicit_rows)
        assert {label: list(curves) for label, curves in groups.items()} == {"nats per datum": ["elbo", "valid_elbo"]}
        rows = [{"t": t, "loss": 3.0 + t, "elbo": -2.0, "kl": 1.0, "name": "x"} for t in range(3)]
        assert list(group_curves(rows, "nats per datum")) == ["nats per datum", "loss (nats per datum)", "kl"]
        assert list(group_curves(game_rows, "nats per datum")) == ["loss"]

    def test_the_first_steps_do_not_flatten_the_rest(self, explicit_rows: LogRows) -> None:
        """The axis limits include the end of a curve and not its outlying start."""
        low, high = robust_limits([group_curves(explicit_rows)["nats per datum"]["elbo"]])
        assert -200 < low < 40
        assert 60 < high < 80
        assert robust_limits([(np.arange(3.0), np.zeros(3))]) == (-1, 1)

    def test_a_long_curve_is_summarised(self) -> None:
        """Segments in order of time, with a band that contains the median."""
        noise = np.random.default_rng(0).normal(size=10_000)
        t, low, middle, high = summarise_curve(np.arange(10_000.0), noise)
        assert len(t) == 120
        assert (np.diff(t) > 0).all()
        assert (low < middle).all()
        assert (middle < high).all()
        assert abs(middle).max() < 0.6

    def test_one_run_and_several(self, explicit_rows: LogRows, game_rows: LogRows, tmp_path: Path) -> None:
        """One panel per run; a run without finite values is labelled so."""
        alone = pixels(curves_png(explicit_rows, tmp_path / "curves.png"))
        assert alone.shape == (400, 3 * PANEL, 3)
        assert bluish(alone).any()
        assert (pixels((tmp_path / "curves.png").read_bytes()) == alone).all()
        models = {"vae": explicit_rows, "gan": game_rows, "x" * 90: [{"t": 0, "loss": nan}], "new": []}
        assert pixels(curves_png(models)).shape == (800, 6 * PANEL, 3)
        assert curves_png([])
        assert curves_png({})

    def test_svg_is_well_formed_and_repeatable(self, game_rows: LogRows) -> None:
        """Two plots of the same data are identical files."""
        svg = curves_svg(game_rows)
        assert ElementTree.fromstring(svg).attrib["viewBox"].split() == ["0", "0", str(PANEL), "200"]
        assert svg == curves_svg(game_rows)
        assert GENERATED in svg


def test_a_plot_is_replaced_atomically(tmp_path: Path) -> None:
    """No temporary file remains, and the error for a missing folder names it."""
    path = tmp_path / "samples.png"
    path.write_bytes(b"old")
    assert grid_png(torch.rand(1, 1, 8, 8), path) == path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    for bad in (tmp_path / "nowhere" / "x.png", path / "x.png"):
        with pytest.raises(RunError, match="cannot write"):
            grid_png(torch.rand(1, 1, 8, 8), bad)


def test_nothing_global_changes() -> None:
    """In a new process: matplotlib is imported by the first plot, pyplot never, and the user's settings are kept."""
    code = """
import sys
import torch
import pyrogen.report as report
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.rcParams["font.size"] = 33
before = dict(dict.items(matplotlib.rcParams))
rows = [{"t": t, "elbo": float(t)} for t in range(9)]
report.samples_png(torch.rand(9, 2), torch.rand(9, 2))
report.samples_png(torch.rand(9), torch.rand(9))
report.samples_png(torch.rand(9, 4), torch.rand(9, 4))
report.curves_png({"a": rows, "b": rows})
report.curves_svg(rows)
assert dict(dict.items(matplotlib.rcParams)) == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_figures_are_freed_and_what_the_caller_has_frozen_stays_frozen():
    before = gc.get_freeze_count()
    with figures_freed():
        with canvas(100, 100) as figure:
            png(figure)
        drawn = weakref.ref(figure)
        del figure
    assert drawn() is None
    assert gc.get_freeze_count() == before
    gc.freeze()
    try:
        with figures_freed():
            pass
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
