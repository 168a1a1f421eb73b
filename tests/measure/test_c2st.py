"""The classifier two-sample test between chance and certainty."""

from importlib import import_module
from math import pi

import numpy as np
import pytest
import torch
from helpers import points

from pyrogen.measure.c2st import c2st


def test_c2st_between_chance_and_certainty():
    n, real = 120, points(120, 1, 2, 2)
    null = c2st(points(n, 1, 2, 2, seed=1), real)
    half = 1.96 * ((1 + 2 / pi) * 0.25 / (2 * n)) ** 0.5
    assert null.detail["null"] == pytest.approx([0.5 - half, 0.5 + half])
    assert null.detail["n"] == 2 * n
    assert null.detail["p_value"] > 0.05
    assert null.value == pytest.approx(0.5, abs=1.5 * half)
    apart = c2st(points(n + 50, 1, 2, 2, seed=1) + 20, real)
    assert (apart.value, apart.stderr, apart.detail["n"]) == (1.0, 0.0, 2 * n)
    assert (apart.detail["p_value"], apart.detail["network_accuracy"]) == (0.001, 1.0)
    assert apart.interval == pytest.approx((1 / (1 + 1.96**2 / (2 * n)), 1), abs=1e-6)
    shifted = c2st(points(n, 1, 2, 2, seed=1) + 0.7, real)
    assert null.value + half < shifted.value < 1
    assert shifted.kind == "statistic"
    chance = (1 + 2 / pi) * 0.25 / (2 * n)  # each fold teaches the others
    assert null.stderr == pytest.approx(chance**0.5, rel=0.02)
    assert null.interval[0] < 0.5 < null.interval[1]
    assert max(shifted.detail[p] for p in ("p_value", "trees_p_value", "network_p_value")) < 0.01


def test_c2st_finds_no_difference_in_identical_copies():
    x = points(120, 2)
    np.random.seed(0)
    score = c2st(x, x.clone())
    assert score.value <= score.detail["null"][1]
    assert score == c2st(x, x.clone())
    assert np.random.rand() == pytest.approx(0.5488135)  # numpy's own stream was not drawn from


def test_p_values_are_uniform_without_a_difference(monkeypatch):
    """Of any classifier: here the projection onto the difference of the means of what it learned from."""
    module = import_module("pyrogen.measure.c2st")
    monkeypatch.setattr(module, "_trees", lambda x, y, unseen, seed: unseen @ (x[y == 1].mean(0) - x[y == 0].mean(0)))
    monkeypatch.setattr(module, "_network", lambda x, y, unseen, seed: np.round(unseen[:, 0]))  # with many ties
    details = [
        c2st(points(40, 5, seed=i), points(40, 5, seed=1000 + i), permutations=99, seed=i).detail for i in range(400)
    ]
    for name in ("p_value", "trees_p_value", "network_p_value"):
        p = np.array([detail[name] for detail in details])
        for level in (0.05, 0.5, 0.9):
            assert (p <= level).mean() == pytest.approx(level, abs=3.5 * (level * (1 - level) / 400) ** 0.5), name


def test_the_better_classifier_is_heard(monkeypatch):
    """Trees see an interaction that a projection does not, and p_value counts that two were tried."""
    module = import_module("pyrogen.measure.c2st")
    monkeypatch.setattr(module, "_network", lambda x, y, unseen, seed: unseen[:, 0])
    x = points(200, 2)
    ring = torch.stack([x[:, 0], x[:, 0].sign() * x[:, 1].abs()], 1)
    detail = c2st(ring, points(200, 2, seed=1)).detail
    assert detail["network_p_value"] > 0.05
    assert detail["trees_p_value"] <= detail["p_value"] < 0.01
