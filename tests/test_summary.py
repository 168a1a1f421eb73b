"""What data, steps, runs and results show of themselves, in a terminal and in a notebook."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import pyrogen
from pyrogen.data import Dataset
from pyrogen.errors import DataError
from pyrogen.protocols import Score
from pyrogen.recipes import RECIPES
from pyrogen.report.cards import Card, Scores

TAGS = re.compile(r"<[^<>]+>")
EVIL = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return pyrogen.load("digits")


def test_a_data_set_is_one_line_and_a_table_with_a_picture(digits) -> None:
    line = repr(digits)
    assert line.startswith("<digits: rows 1,167 + 180 + 450 (train + valid + test), shape (1, 8, 8), classes 10 (0, 1,")
    assert "tensor" not in line + repr(digits.train)
    assert repr(digits.train).startswith("<1,167 rows: shape (1, 8, 8), y int64 (1167,)")
    html = digits._repr_html_()
    assert "1,167 + 180 + 450" in TAGS.sub("", html)
    assert html.count('<img src="data:image/png;base64,') == 1
    without = Dataset.without_rows(digits.description)
    assert repr(without) == line
    assert "<img" not in without._repr_html_()


def test_many_classes_are_abbreviated_and_markup_is_escaped(digits) -> None:
    data = replace(digits, name=EVIL, classes=tuple(map(str, range(300))))
    assert "classes 300 (0, 1, 2, 3, 4, 5, 6, 7, 8, …, 299)" in repr(data)
    assert "<script>" not in data._repr_html_()


def test_rows_are_read_by_index_and_iteration_as_tensors_reads_them(digits) -> None:
    x, y = digits.valid.tensors()
    assert all(torch.equal(a, b) for a, b in zip(digits.valid[:5], (x[:5], y[:5]), strict=True))
    assert torch.equal(digits.valid[torch.tensor([3, 1])][0], x[[3, 1]])
    one, label = digits.valid[-1]
    assert torch.equal(one, x[-1])
    assert label == y[-1]
    assert [int(label) for _, label in digits.valid] == y.tolist()
    assert digits.train[:2][0].shape == (2, 1, 8, 8)  # with noise
    with pytest.raises(IndexError):
        digits.valid[len(digits.valid)]


def test_images_are_shown_as_a_grid_and_tables_as_rows(digits, tmp_path) -> None:
    shown = digits.show(6)
    assert repr(shown) == "<6 images of 1 x 8 x 8: save('FILE.png')>"
    shown.save(tmp_path / "a.png")
    with Image.open(io.BytesIO(shown._repr_png_())) as picture, Image.open(tmp_path / "a.png") as saved:
        assert picture.size == saved.size == (3 * 42 - 2, 2 * 42 - 2)
    assert pyrogen.show(torch.rand(2, 3, 8, 8), n=1).text.startswith("<1 images")
    (tmp_path / "t.csv").write_text("age,name\n" + "".join(f"{20 + i % 50},{'ab'[i % 2]}\n" for i in range(60)))
    table = pyrogen.load(tmp_path / "t.csv")
    header, *rows = table.test.show(3).text.splitlines()
    assert header.split() == ["age", "name"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert {row.split()[2] for row in rows} <= {"a", "b"}
    assert "<td>" in table._repr_html_()
    wide = pyrogen.show(np.arange(40.0).reshape(2, 20))
    assert wide.text.splitlines()[0].split()[-3:] == ["…", "8", "more"]
    for x in (torch.rand(3), torch.rand(0, 2), torch.rand(2, 3, 4)):
        with pytest.raises(DataError, match=r"expected images \(n, c, h, w\) or rows \(n, d\)"):
            pyrogen.show(x)


@pytest.mark.parametrize("name", ["vae", "gan", "autoencoder", "pca", "aae"])
def test_steps_say_what_they_train(digits, name) -> None:
    step = RECIPES[name](digits, steps=2).step
    line = repr(step)
    assert line.startswith(f"<{type(step).__name__}: ")
    assert len(line) < 400
    assert "object at" not in line
    assert type(step).__name__ in step._repr_html_()


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "histogram"])
def test_models_say_their_class_data_and_size(digits, name) -> None:
    model = RECIPES[name](digits, steps=2).model
    parameters = f"{sum(p.numel() for p in model.parameters()):,}"
    line = repr(model)
    assert line.startswith(f"<{type(model).__name__}: shape (1, 8, 8), ")
    assert line.endswith(f"parameters {parameters}>")
    assert len(line) < 120
    assert getattr(model, "latent", None) is None or f"latent {model.latent}," in line
    assert "\n" not in line
    assert f"<td>{parameters}</td>" in model._repr_html_()


def test_scores_and_cards_are_tables() -> None:
    score = Score(74.25, 0.3, "lower_bound", "nats")
    assert repr(score) == "<74.25 ± 0.3 nats (lower bound)>"
    scores = Scores(log_likelihood=score)
    assert repr(scores).splitlines()[1].split() == ["log_likelihood", "≥", "74.2", "(73.7", "to", "74.8)", "nats"]
    assert dict(scores) == {"log_likelihood": score}
    entry = {"scores": {"log_likelihood": score.as_dict()}}
    card = Card(models={EVIL: entry}, anchors={"gaussian": {"scores": {"kde": score.as_dict()}}})
    header, first, anchor = repr(card).splitlines()
    assert header.startswith("model")
    assert r"\x1b" in first
    assert "≥ 74.2" in anchor
    assert "<script>" not in card._repr_html_()
    assert repr(Scores()) == "{}"
