"""The page on which a model is explored, in a browser: layout, and what pointing, sliders and choices show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import CLIPPED, OVERFLOWING, WIDTHS, ink

from pyrogen.report import write_explorer

TAPPED = """() => [...document.querySelectorAll("button, input, label.choice")]
    .filter(e => { const box = e.getBoundingClientRect(); return Math.min(box.width, box.height) < 40 })
    .map(e => e.outerHTML.slice(0, 120))"""
PIXELS = """selector => { const c = document.querySelector(selector);
    const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", {willReadFrequently: true});
    copy.drawImage(c, 0, 0);
    return [...copy.getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0) }"""


@pytest.fixture
def explorer(exploration: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """The page of an exploration and what it shows; keywords replace parts of it."""

    def write(**changes: Any) -> tuple[Path, Any]:
        found = exploration(**changes)
        return write_explorer(tmp_path / "explore.html", found), found

    return write


def levels(picture: torch.Tensor) -> list[int]:
    """The grey levels of a picture."""
    return (picture.flatten() * 255).round().int().tolist()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_explorer_fits(explorer: Any, visit: Callable[..., Any], width: int, scheme: str) -> None:
    """With unbreakable names too; what is tapped is large enough for a finger."""
    names = ("x" * 90, "<script>alert(1)</script>", "c")
    page = visit(explorer(classes=names, model="y" * 70)[0], width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OVERFLOWING) == []
    assert [element for element in page.evaluate(CLIPPED) if not element.startswith("<text")] == []
    assert page.evaluate(TAPPED) == []
    ground = ink(page, "footer")[-1, -1]
    assert abs(ink(page, "footer p").mean(2) - ground.mean()).max() > 70
    assert ground.max() < 40 if scheme == "dark" else ground.min() > 220


def test_pointing_shows_a_datum_and_its_reconstruction(explorer: Any, visit: Callable[..., Any]) -> None:
    """By a mouse, a finger, or the keys of the slider; classes can be shown alone."""
    path, found = explorer()
    page = visit(path, 390, has_touch=True)
    plane, places = page.locator("#plane"), page.evaluate("known.points")
    scale = plane.bounding_box()["width"] / 400

    def where(i: int) -> Any:
        return {"x": places[i][0] * scale, "y": places[i][1] * scale}

    plane.tap(position=where(7))
    assert page.locator("#datum-name").inner_text() == "datum 1,007, class a"
    assert page.evaluate(PIXELS, "#datum-picture") == levels(found.pictures[7])
    assert page.evaluate(PIXELS, "#reconstruction") == levels(found.plane.reconstructions[7])
    plane.hover(position=where(25))
    assert page.locator("#datum-name").inner_text() == "datum 1,025, class c"
    page.locator("#datum").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#datum-name").inner_text() == "datum 1,024, class c"
    assert page.evaluate(PIXELS, "#datum-picture") == levels(found.pictures[24])
    page.get_by_role("button", name="b", exact=True).click()
    assert page.locator(".points.dim").count() == 2
    plane.hover(position=where(25))
    assert page.locator("#datum-name").inner_text().endswith("class b")
    assert page.get_by_role("img", name="reconstruction of datum").count() == 1


def test_sliders_and_paths_show_decoded_pictures(explorer: Any, visit: Callable[..., Any]) -> None:
    path, found = explorer()
    page = visit(path, 700)
    pictures, first = found.sliders.pictures, ".slider canvas"
    assert page.evaluate(PIXELS, first) == levels(pictures[0, 0, 5])
    page.locator("[data-unit='0']").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(PIXELS, first) == levels(pictures[0, 0, 6])
    value = f"{float(found.sliders.values[0, 0, 6]):+.2f}".replace("-", "−")
    assert page.locator(".slider output").first.inner_text() == f"+0.6 sd: {value}"
    page.locator("[name=middle]").nth(2).check()
    assert page.evaluate(PIXELS, first) == levels(pictures[2, 0, 6])
    page.get_by_role("button", name="Move all to the middle").click()
    assert page.evaluate(PIXELS, first) == levels(pictures[2, 0, 5])

    def shown(start: int, end: int, step: int) -> list[int]:
        page.locator("[name=from]").nth(start).check()
        page.locator("[name=to]").nth(end).check()
        page.locator(".strip canvas").nth(step).click()
        result: list[int] = page.evaluate(PIXELS, "#path-picture")
        return result

    assert shown(0, 2, 3) == levels(found.paths[1, 3])
    assert shown(2, 1, 3) == levels(found.paths[2, 5])
    assert shown(1, 1, 3) == levels(found.paths[0, 8])
    assert shown(0, 0, 3) == levels(found.paths[0, 0])
    assert page.locator("#path-text").inner_text() == "38%"


def test_the_explorer_of_a_generator_has_no_plane(explorer: Any, visit: Callable[..., Any]) -> None:
    path, found = explorer(plane=None, units=None, labels=None, classes=(), paths=None)
    page = visit(path, 390)
    assert page.locator("#plane").count() == 0
    assert page.evaluate(PIXELS, ".slider canvas") == levels(found.sliders.pictures[0, 0, 5])
    assert page.evaluate(PIXELS, ".choice canvas") == levels(found.pictures[0])
