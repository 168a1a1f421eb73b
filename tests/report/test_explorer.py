"""The page on which a model is explored: its contents, its sheets of pictures, and that it is self-contained."""

import io
import json
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch
from page_text import text
from PIL import Image

from pyrogen.errors import RunError, printable
from pyrogen.report import write_explorer
from pyrogen.report.explorer.write import sheet

EVIL = '</script><script>alert("1")</script>\x1b\u202e'


@pytest.fixture
def page(exploration, tmp_path):
    """The page of an exploration; keywords replace parts of it."""
    return lambda **changes: write_explorer(tmp_path / "explore.html", exploration(**changes)).read_text()


def known(page):
    """What the script reads."""
    return json.loads(re.search(r'<script type="application/json" id="known">(.*?)</script>', page, re.DOTALL)[1])


def sheets(page):
    """The sheets of pictures by name, as arrays."""
    found = re.findall(r'id="sheet-(\w+)" src="data:image/png;base64,([^"]*)"', page)
    return {name: np.asarray(Image.open(io.BytesIO(b64decode(png)))) for name, png in found}


def test_it_is_self_contained(page):
    found = page()
    assert "http:" not in found
    assert "https:" not in found
    assert not re.search(r"@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", found)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r' src="([^"]{0,40})', found))
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src", found)


def test_names_are_escaped(page):
    found = page(model=EVIL, data=EVIL, classes=(EVIL, "b", "c"))
    assert found.count("<script") == 2
    assert "alert(&#34;1&#34;)" in found
    assert known(found)["names"][0].endswith(f"class {EVIL}")
    assert found == "\n".join(map(printable, found.split("\n")))


def test_sheets_hold_all_pictures(page, exploration):
    shown, found = exploration(), page()
    sizes = {name: pixels.shape for name, pixels in sheets(found).items()}
    columns = known(found)["columns"]
    assert columns == {"data": 8, "sliders": 12, "paths": 6}  # of 2 * 30, 4 * 3 * 11 and 3 * 9
    assert sizes == {"data": (8 * 6, 8 * 5), "sliders": (11 * 6, 12 * 5), "paths": (5 * 6, 6 * 5)}
    assert known(found)["size"] == [5, 6]
    first = (shown.plane.reconstructions[3, 0] * 255).round().byte().numpy()
    row, column = divmod(33, 8)
    assert np.array_equal(sheets(found)["data"][row * 6 : row * 6 + 6, column * 5 : column * 5 + 5], first)


def test_colour_pictures_lie_in_colour_sheets():
    pictures = torch.rand(5, 3, 2, 4)
    assert sheet(pictures).shape == (3, 4, 12)
    assert torch.equal(sheet(pictures)[:, 2:, 4:8], pictures[4])
    assert not sheet(pictures)[:, 2:, 8:].any()


def test_the_script_knows_points_names_and_values(page, exploration):
    found, shown = known(page()), exploration()
    assert found["names"][4] == "datum 1,004, class a"
    assert found["labels"] == shown.labels.tolist()
    assert found["anchors"] == [0, 10, 20]
    places = torch.tensor(found["points"])
    assert bool((places > 0).all() & (places < torch.tensor([400, 340])).all())
    given = shown.plane.points  # one scale for both axes, and up is up
    scale = torch.linalg.lstsq(given - given.mean(0), places - places.mean(0)).solution
    assert float(scale[0, 0]) == pytest.approx(-float(scale[1, 1]), rel=0.01)
    assert float(scale[0, 0]) > 10
    assert np.shape(found["values"]) == (4, 3, 11)
    assert found["values"][1][2][0] == pytest.approx(float(shown.sliders.values[1, 2, 0]), abs=0.006)


def test_units_are_listed_with_their_divergence(page):
    words = text(page())
    assert "2 of 3 units are active: the variance of the code over 500 data is above 0.01" in words
    assert "the sum over all units is 3.50 nats" in words or "the sum over all units is 3.5 nats" in words
    assert re.search(r"z3 2.00 nats, var. 0.900 z1 1.50 nats, var. 0.500 z2 0.00 nats, var. 0.001, inactive", words)


def test_units_without_a_divergence_say_why(page, exploration):
    units = exploration().units
    without = type(units)(units.variance, None, 500, "an Autoencoder has no posterior over its codes")
    words = text(page(units=without))
    assert "There is no KL of each unit: an Autoencoder has no posterior over its codes." in words
    assert "nats" not in words
    many = type(units)(torch.rand(100), None, 500, "")
    assert "36 further units have shorter bars" in text(page(units=many))


def test_what_is_missing_is_left_out(page):
    draws = page(plane=None, units=None, labels=None, classes=(), paths=None)
    assert "The plane of codes" not in text(draws)
    assert "A path between" not in text(draws)
    assert known(draws)["names"][4] == "draw 1,004"
    assert set(sheets(draws)) == {"data", "sliders"}
    unlabelled = page(labels=None, classes=())
    assert "Classes; press one" not in text(unlabelled)
    assert "The plane of codes" in text(unlabelled)


def test_a_plane_of_one_point_or_of_a_line_is_drawn(page, exploration):
    plane = exploration().plane
    for points in (torch.zeros(30, 2), torch.stack([torch.linspace(-3, 9, 30), torch.zeros(30)], 1)):
        shown = type(plane)(points, ("z1", "z2"), False, plane.reconstructions)
        assert known(page(plane=shown))["points"][0][1] == 170
    line = type(plane)(torch.rand(30, 2) * torch.tensor([100, 1]), ("z1", "none"), True, plane.reconstructions)
    heights = [y for _, y in known(page(plane=line))["points"]]
    assert max(heights) - min(heights) > 300


def test_a_folder_that_is_not_there_is_named(exploration, tmp_path):
    with pytest.raises(RunError, match="nowhere"):
        write_explorer(Path(tmp_path / "nowhere" / "explore.html"), exploration())
