"""The report in a browser: layout, sharp images, no requests, print and dark mode."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import CLIPPED, OVERFLOWING, WIDTHS, ink

from pyrogen.data.columns import Column
from pyrogen.data.shown.image_grid import GAP_COLOUR
from pyrogen.experiments.page import write_page

IMAGES = """() => [...document.images]
    .map(i => [i.className, i.complete, i.naturalWidth, i.getBoundingClientRect().width])"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_clipped_or_blurred(report: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    page = visit(report(config={"path": "/x" * 200, "models": {"vae": {"hidden": [512] * 60}}}), width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(CLIPPED) == []
    images = page.evaluate(IMAGES)
    assert len(images) == 8
    for kind, complete, natural, shown in images:
        assert complete
        assert natural > 0
        assert shown == natural if kind == "pixels" else 300 < shown <= natural


@pytest.mark.parametrize("width", WIDTHS)
def test_other_data_fit(report: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    """Points, colour images and images larger than a phone, with unbreakable names."""
    samples = {"x" * 90: torch.rand(50, 2), "colour": torch.rand(64, 3, 32, 32), "large": torch.rand(2, 1, 400, 400)}
    page = visit(report(samples=samples, real=torch.rand(9, 2)), width)
    assert page.evaluate(OVERFLOWING) == []
    assert all(shown <= natural for _, _, natural, shown in page.evaluate(IMAGES))


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_fit(report: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    """Plots of columns and their moments, with unbreakable names of columns and categories."""
    columns = (
        Column("x" * 70, "real"),
        Column("count", "integer", 1.0, cells=9),
        Column("y" * 50, "categorical", 1.0, ("z" * 40, "b", "c"), cells=3),
    )
    rows = torch.stack([1e6 * torch.randn(200), torch.randint(0, 9, (200,)), torch.randint(0, 3, (200,))], 1)
    page = visit(report(samples={"gaussian": rows, "vae": rows + 0}, real=rows, columns=columns), width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(CLIPPED) == []
    assert page.get_by_role("table", name="").filter(has_text="generated mean").count() == 2


def test_image_grids_are_not_interpolated(report: Callable[..., Path], visit: Callable[..., Any]) -> None:
    """The pixels on the screen have only the values of the image: no interpolation."""
    checks = torch.zeros(64, 1, 8, 8)
    checks[:, :, ::2] = 1.0
    drawn = ink(visit(report(real=checks), 390), "img.pixels")
    found, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
    found = dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))
    assert found.pop((0, 0, 0)) == found.pop((255, 255, 255)) == 64 * 4 * 8 * 25
    assert found.pop(GAP_COLOUR) == 334**2 - 64 * 40**2
    assert sum(found.values()) <= 334  # a row of the page, where the picture does not begin on a whole pixel


def test_dark_mode(report: Callable[..., Path], visit: Callable[..., Any]) -> None:
    """In dark mode, plots are inverted and text has enough contrast."""
    page = visit(report(), color_scheme="dark")
    ground = ink(page, "footer")[-1, -1]
    assert ground.max() < 40
    plot = ink(page, "img.plot")
    assert np.abs(plot[2, 2] - ground).max() <= 3
    assert plot.max() > 180
    for selector in ("h1", ".lede", ".group span", ".kind.estimate", ".failed"):
        assert ink(page, selector).mean(2).max() - ground.mean() > 90


def experiment_page(path: Path) -> Path:
    """Six scores of models with long names, and their differences."""
    columns = ("log_likelihood", "mmd2", "c2st", "fid", "kid", "high_quality")
    score = {"value": -0.0123456, "stderr": 1e-3, "kind": "estimate", "unit": "nats", "interval": [-0.0143, -0.0103]}
    arms = {
        f"relativistic-gan-{n}": {"recipe": "relativistic-gan", "scores": dict.fromkeys(columns, score)} for n in "12"
    }
    pair = {"models": list(arms), "difference": 0.1, "stderr": 0.01, "p_value": 0.01, "adjusted_p_value": 0.02}
    card = {
        **dict.fromkeys(("experiment", "question", "differs", "data", "space"), "words"),
        **{"split": {"train": 9}, "seeds": [0, 1], "findings": ["One."], "options": {"steps": [1, 2]}},
        **{"columns": columns, "arms": arms, "anchors": {}, "comparisons": {"mmd2": [pair]}},
    }
    return write_page(path / "page.html", card, {})


@pytest.mark.parametrize("width", [*WIDTHS, 901])
def test_the_page_of_an_experiment_fits(tmp_path: Path, visit: Callable[..., Any], width: int) -> None:
    page = visit(experiment_page(tmp_path), width)
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(CLIPPED) == []


def test_the_page_of_an_experiment_is_printed_whole(tmp_path: Path, visit: Callable[..., Any]) -> None:
    """On A4 with margins of 14 mm: a table, its headings in one line or two, and the differences below it."""
    page = visit(experiment_page(tmp_path), 688)
    for folded in page.locator("details").all():
        folded.evaluate("element => element.open = false")
    page.emulate_media(media="print")
    assert page.evaluate(OVERFLOWING) == []
    assert page.locator("details").first.bounding_box()["height"] > 50
    head = page.locator("thead").first.bounding_box()
    assert 0 < head["height"] < 60


def test_print(report: Callable[..., Path], visit: Callable[..., Any]) -> None:
    """In print, collapsed details are open, and cards do not break across pages."""
    page = visit(report(), 690, color_scheme="dark")
    for folded in page.locator("details").all():
        folded.evaluate("element => element.open = false")
        assert folded.bounding_box()["height"] < 60
    page.emulate_media(media="print")
    assert all(unfolded.bounding_box()["height"] > 150 for unfolded in page.locator("details").all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 31, 39)"
    assert page.evaluate(OVERFLOWING) == []
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_it_is_accessible_without_javascript(report: Callable[..., Path], visit: Callable[..., Any]) -> None:
    """Without JavaScript, cards are still rows and cells of one table."""
    page = visit(report(), 390, java_script_enabled=False)
    assert page.locator("html").get_attribute("lang") == "en"
    cards = page.get_by_role("table").first
    assert cards.get_by_role("columnheader", name="C2ST").count() == 1
    assert cards.get_by_role("rowheader", name="vae").count() == 1
    row = cards.get_by_role("row").filter(has_text="LOWER BOUND")
    assert row.get_by_role("cell").count() == 5
    assert cards.get_by_role("button").count() == 0
    assert page.get_by_role("img", name="vae: samples").count() == 1


NAMES = (
    """() => [...document.querySelectorAll(".scores tbody:not(.anchors) tr:not(.group) .name")].map(e => e.innerText)"""
)


def test_the_scorecard_can_be_sorted(report: Callable[..., Path], full_card: Any, visit: Callable[..., Any]) -> None:
    """By keyboard or click; a third time restores the order. Likelihoods that are not comparable stay apart."""
    page = visit(report(scorecard=full_card), 1200)
    head = page.get_by_role("columnheader", name="MMD²").first
    given = page.evaluate(NAMES)
    assert given == ["vae", "gaussian", "program", "gan"]
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(NAMES) == ["gan", "program", "vae", "gaussian"]
    assert head.get_attribute("aria-sort") == "ascending"
    assert not page.get_by_text("Likelihood not known").is_visible()
    assert page.locator(".anchors .group").is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate(NAMES) == ["gaussian", "vae", "program", "gan"]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert page.evaluate(NAMES) == given
    assert head.get_attribute("aria-sort") is None
    page.get_by_role("columnheader", name="Log-likelihood").get_by_role("button").click()
    assert page.evaluate(NAMES) == given
    page.get_by_role("columnheader", name="Log-likelihood").get_by_role("button").click()
    assert page.evaluate(NAMES) == ["gaussian", "vae", "program", "gan"]
    assert page.get_by_text("Likelihood not known").is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_full_scorecard_fits(
    report: Callable[..., Path], full_card: Any, visit: Callable[..., Any], width: int
) -> None:
    """With verdicts, intervals, measures of two spaces and paired differences; sorted, too."""
    page = visit(report(scorecard=full_card), width)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(OVERFLOWING) == []
        assert page.evaluate(CLIPPED) == []
        page.get_by_role("button", name="C2ST").click()


def test_a_number_opens_what_it_is(report: Callable[..., Path], visit: Callable[..., Any]) -> None:
    page = visit(report(), 1200)
    page.get_by_role("link", name="0.0048").first.click()
    assert page.url.endswith("#about-mmd2")
    box = page.locator("#about-mmd2").bounding_box()
    assert -1 < box["y"] < 900  # a scroll ends at a whole pixel
    assert "maximum mean discrepancy" in page.locator("#about-mmd2").inner_text()


def test_the_first_printed_page_holds_the_first_model(
    report: Callable[..., Path], full_card: Any, visit: Callable[..., Any]
) -> None:
    """On A4 with margins of 14 mm, 688 by 1017 pixels."""
    page = visit(report(scorecard=full_card), 688)
    page.emulate_media(media="print")
    first = page.locator(".scores tbody tr:not(.group)").first.bounding_box()
    assert first["y"] + first["height"] < 1017
    assert page.evaluate("""() => [...document.querySelectorAll("section")]
        .every(e => getComputedStyle(e).breakBefore == "auto")""")
