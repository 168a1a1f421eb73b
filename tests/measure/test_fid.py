"""Fréchet distance and related scores: closed forms, and scores of faulty samples."""

from math import log

import pytest
import torch

from pyrogen.measure.fid import fid, frechet_distance, inception_score, kid, precision_recall


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_frechet_distance_of_commuting_gaussians():
    """|m - n|² + Σ (√a - √b)²."""
    a, b = torch.tensor([1.0, 4.0, 0.0]).double(), torch.tensor([9.0, 1.0, 0.25]).double()
    m, n = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.0, 2.0, 5.0]).double()
    expected = 1 + 4 + 4 + 1 + 0.25
    assert frechet_distance(m, a.diag(), n, b.diag()) == pytest.approx(expected, abs=1e-9)
    turn = torch.linalg.qr(normal(3, 3)).Q
    turned = frechet_distance(turn @ m, turn @ a.diag() @ turn.T, turn @ n, turn @ b.diag() @ turn.T)
    assert turned == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_gaussians_that_do_not_commute():
    """For 2 x 2 matrices tr (C D)^½ = √(tr C D + 2 √(det C det D))."""
    c, d = (f @ f.T for f in (normal(2, 2, 1), normal(2, 2, 2)))
    cross = ((c @ d).trace() + 2 * (c.det() * d.det()).sqrt()).sqrt()
    expected = float(c.trace() + d.trace() - 2 * cross)
    zero = torch.zeros(2).double()
    assert frechet_distance(zero, c, zero, d) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(zero, c, zero, c) == pytest.approx(0, abs=1e-7)


def test_fid_of_gaussian_samples():
    p, q = normal(50_000, 4, 1), 2 * normal(50_000, 4, 2) + 1
    assert fid(p, q).value == pytest.approx(4 + 4, rel=0.02)
    assert fid(p, normal(50_000, 4, 3)).value < 1e-3


def test_kid_is_unbiased_and_detects_a_shift():
    same = [kid(normal(200, 8, 2 * s), normal(200, 8, 2 * s + 1)) for s in range(100)]
    values = torch.tensor([s.value for s in same])
    assert abs(values.mean()) < 3 * values.std() / 100**0.5
    assert kid(normal(500, 8), normal(500, 8, 1) + 0.5).value > 0.1
    spread = values.std().item()
    assert sum(s.stderr for s in same) / 100 == pytest.approx(spread, rel=0.4)


def test_inception_score_between_one_and_the_number_of_classes():
    sure = torch.full((100, 10), -1e4)
    sure[torch.arange(100), torch.arange(100) % 10] = 0
    assert inception_score(sure).value == pytest.approx(10, rel=1e-6)
    assert inception_score(sure[::10]).value == pytest.approx(1, rel=1e-6)  # one class alone
    assert inception_score(torch.full((50, 10), -log(10))).value == pytest.approx(1, rel=1e-6)


def test_precision_falls_with_faults_and_recall_with_lost_modes():
    real = torch.cat([normal(300, 2), normal(300, 2, 1) + 20])
    whole = torch.cat([normal(300, 2, 2), normal(300, 2, 3) + 20])
    well, lost, wide = (precision_recall(s, real) for s in (whole, whole[:300], 10 * whole))
    assert min(s.value for s in well.values()) > 0.85
    assert lost["precision"].value > 0.85
    assert lost["recall"].value == pytest.approx(0.5, abs=0.06)
    assert wide["precision"].value < 0.3


def test_a_ball_reaches_to_the_kth_neighbour_and_not_beyond():
    """Data at 0, 1, 3 and 10: to the nearest other one it is 1, 1, 2 and 7, to the second 3, 2, 3 and 9."""
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    samples = torch.tensor([[-0.9], [-1.1], [-2.9], [-3.1], [5.1], [17.1], [18.9], [19.1]])
    inside = {1: [1, 0, 0, 0, 1, 0, 0, 0], 2: [1, 1, 1, 0, 1, 1, 1, 0]}
    for k, expected in inside.items():
        scores = precision_recall(samples, real, k)
        assert scores["precision"].value == sum(expected) / 8
        for x, is_inside in zip(samples, expected, strict=True):
            many = x.expand(k + 1, 1)
            assert precision_recall(many, real, k)["precision"].value == is_inside, (k, x)
    # The samples 0, 2 and 6 have balls of 2, 2 and 4 (k = 1): -2.5 and 10.5 lie outside, -1.5, 9 and 3.9 within.
    recall = precision_recall(
        torch.tensor([[0.0], [2.0], [6.0]]), torch.tensor([[-2.5], [10.5], [-1.5], [9.0], [3.9]]), 1
    )
    assert recall["recall"].value == 3 / 5
