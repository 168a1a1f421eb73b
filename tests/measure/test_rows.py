"""What every measure is given: rows in any order, enough of them, finite and of one shape."""

import json

import pytest
import torch

import pyrogen
from pyrogen.errors import DataError
from pyrogen.measure import (
    CriticBudget,
    c2st,
    fid,
    inception_score,
    js_by_critic,
    kid,
    mmd2,
    nearest_neighbour,
    precision_recall,
    sample_scores,
    w1_by_critic,
)

BUDGET = CriticBudget(hidden=(16,), steps=60, batch_size=64)
TWO = {
    "mmd2": (mmd2, 3),
    "c2st": (c2st, 5),
    "fid": (fid, 2),
    "kid": (kid, 3),
    "precision and recall": (precision_recall, 4),
    "nearest_neighbour": (lambda x, y: nearest_neighbour(x, y, y), 1),
    "a critic": (lambda x, y: js_by_critic(x, y, BUDGET), 4),
}


def normal(n, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TWO)
def test_too_few_rows_are_said(name):
    measure, least = TWO[name]
    for few in {0, least - 1}:
        with pytest.raises(DataError, match=f"^{name}: expected at least {least} rows of .*, got {few}$"):
            measure(normal(few), normal(60, seed=1))
    measure(normal(least), normal(max(least, 20), seed=1))


@pytest.mark.parametrize("name", TWO)
def test_values_that_are_not_finite_and_other_shapes_are_said(name):
    measure, _ = TWO[name]
    broken = normal(60)
    broken[3, 1], broken[7, 0] = torch.nan, torch.inf
    with pytest.raises(DataError, match=f"^{name}: expected finite values, got 2 of 60 rows"):
        measure(broken, normal(60, seed=1))
    with pytest.raises(DataError, match=f"^{name}: expected .* of one shape, got .3,. and .4,.$"):
        measure(normal(60), normal(60, 4))


def test_classes_need_rows():
    with pytest.raises(DataError, match=r"^inception_score: expected at least 2 rows of log_prob, got 1$"):
        inception_score(torch.zeros(1, 3))


def test_a_score_does_not_depend_on_the_order_of_rows():
    data = pyrogen.load("digits")
    x, y = (part[:1000] for part in data.train.tensors())
    scores = [sample_scores(rows, data) for rows in (x, x[y.argsort(stable=True)])]
    for name in ("mmd2", "c2st"):
        plain, sorted_ = (score[name] for score in scores)
        assert sorted_.value == pytest.approx(plain.value, abs=4e-4 if name == "mmd2" else 0.05)
    assert scores[1]["mmd2"].detail["p_value"] > 0.01


def test_critics_are_not_misled_by_sorted_rows():
    x = normal(800)
    rows = x[x[:, 0].argsort()]
    assert js_by_critic(rows, normal(800, seed=1), BUDGET).value > -0.1
    assert abs(w1_by_critic(rows, normal(800, seed=1), BUDGET).value) < 0.5


@pytest.mark.parametrize("n", [3, 20, 22, 25])
def test_kid_of_few_rows(n):
    score = kid(normal(n), normal(40, seed=1))
    assert torch.isfinite(torch.tensor([score.value, score.stderr])).all()


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_the_distance_of_a_set_from_itself_is_not_negative(offset):
    x = normal(300, 40) + offset
    assert 0 <= fid(x, x).value < 1e-4


def test_one_test_row():
    class Sampler:
        def sample(self, n, y=None):
            return torch.rand(n, 1, 8, 8)

    data = pyrogen.load("digits")
    with pytest.raises(DataError, match=r"^kde: expected at least 2 rows of test, got 1$"):
        pyrogen.evaluate(Sampler(), pyrogen.data.Split(data.test.x[:1]))
    scores = pyrogen.evaluate(Sampler(), pyrogen.data.Split(data.test.x[:2]))
    json.dumps({name: score.as_dict() for name, score in scores.items()}, allow_nan=False)
    assert nearest_neighbour(normal(1), normal(9), normal(1)).stderr == 0
