"""Feature likelihood divergence: its optimum, samples of the data, copies and worse samples."""

from importlib import import_module
from math import log, pi

import pytest
import torch

from pyrogen.errors import DataError
from pyrogen.measure import fld
from pyrogen.measure.features.fld import FLOOR, _fit, _log_density


def normal(n, d=8, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TRAIN, TEST = normal(1000, seed=1), normal(500, seed=2)


def test_samples_of_the_data_have_about_zero():
    scores = [fld(normal(400, seed=10 + i), TRAIN, TEST, seed=i) for i in range(10)]
    values = torch.tensor([score.value for score in scores])
    assert abs(float(values.mean())) < 1
    assert max(abs(score.detail["gap"] - score.detail["gap_floor"]) for score in scores) < 3


def test_copies_have_a_negative_gap():
    kept = fld(normal(400), TRAIN, TEST)
    tenth = normal(400)
    tenth[:40] = TRAIN[:40]
    noisy = TRAIN[:400] + 0.05 * normal(400, seed=3)
    assert fld(tenth, TRAIN, TEST).detail["gap"] < kept.detail["gap"] - 20
    assert fld(noisy, TRAIN, TEST).detail["gap"] < kept.detail["gap"] - 20
    copied = fld(TRAIN[:400], TRAIN, TEST)
    assert copied.detail["gap"] < -1000
    assert copied.value > 1000
    assert copied.value < float("inf")


def test_worse_samples_have_larger_values():
    values = [fld(normal(400) + shift, TRAIN, TEST).value for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[1] > 2
    broad = [fld(scale * normal(400), TRAIN, TEST).value for scale in (1.0, 1.5, 3.0)]
    assert broad == sorted(broad)


def test_a_lost_mode_has_a_larger_value():
    train, test, samples = (rows + 10 * (torch.arange(len(rows)) % 2)[:, None] for rows in (TRAIN, TEST, normal(400)))
    whole, half = fld(samples, train, test), fld(samples[::2], train, test)
    assert abs(whole.value) < 3
    assert half.value > 100


def test_units_and_order_do_not_matter():
    units, order = torch.logspace(-3, 3, 8, dtype=torch.float64), torch.randperm(400)
    first = fld(normal(400), TRAIN, TEST)
    assert fld(5 + units * normal(400), 5 + units * TRAIN, 5 + units * TEST).value == pytest.approx(
        first.value, abs=0.01
    )
    assert fld(normal(400)[order], TRAIN, TEST).value == pytest.approx(first.value, abs=0.01)
    constant = [torch.cat([rows, torch.ones(len(rows), 1)], 1) for rows in (normal(400), TRAIN, TEST)]
    assert fld(*constant).value == pytest.approx(first.value, abs=1)


def test_variances_maximise_the_likelihood():
    """Against gradient steps on the same objective, written as a sum over a dense matrix."""
    centres, x = normal(30, 2), normal(100, 2, seed=4)
    far = 0.81 * (x - x.mean(0)).square().sum(1)
    square = torch.cat([(x[:, None] - centres).square().sum(2), far[:, None]], 1)
    weight = torch.full((31,), -log(30), dtype=torch.float64)
    weight[30] = 0

    def objective(log_variance):
        joint = weight - 0.5 * square / log_variance.exp() - log_variance - log(2 * pi)
        return joint.logsumexp(1).mean()

    log_variance = _fit(centres, x).log()
    log_variance = torch.cat([log_variance, far.mean().log()[None] - log(2)]).requires_grad_()
    before = float(objective(log_variance.detach()))
    optimizer = torch.optim.Adam([log_variance], lr=0.02)
    for _ in range(500):
        optimizer.zero_grad()
        (-objective(log_variance)).backward()
        optimizer.step()
    assert float(objective(log_variance.detach())) - before < 0.02


def test_density_by_its_definition():
    x, centres, variance = normal(5, 3), normal(4, 3, seed=1), torch.tensor([0.5, 1.0, 2.0, 1e-3]).double()
    terms = [
        torch.distributions.MultivariateNormal(c, v * torch.eye(3).double()).log_prob(x)
        for c, v in zip(centres, variance, strict=True)
    ]
    expected = torch.stack(terms).logsumexp(0) - log(4)
    assert torch.allclose(_log_density(x, centres, variance), expected)


def test_the_nearest_gaussians_suffice(monkeypatch):
    module = import_module("pyrogen.measure.features.fld")  # the package has the function of that name
    samples = normal(400)
    every = fld(samples, TRAIN, TEST)
    monkeypatch.setattr(module, "PAIRS", 1)
    nearest = fld(samples, TRAIN, TEST)
    assert nearest.value != every.value
    assert nearest.value == pytest.approx(every.value, abs=0.5)
    assert nearest.detail["gap"] == pytest.approx(every.detail["gap"], abs=0.5)


def test_a_copy_gets_the_least_variance():
    variance = _fit(torch.cat([TRAIN[:5], normal(50)]), TRAIN)
    assert torch.allclose(variance[:5], torch.full((5,), FLOOR).double(), rtol=1e-3)
    assert float(variance[5:].min()) > 100 * FLOOR


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="fld: expected at least 4 rows of train, got 3"):
        fld(TEST, TRAIN[:3], TEST)
