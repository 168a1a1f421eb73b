"""Standard errors and intervals: known formulas, derivatives by differences, coverage over redraws, paired scores."""

import json
from dataclasses import replace
from math import inf

import pytest
import torch
from helpers import points

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.measure import density_coverage, fid, mmd2, paired_difference, precision_recall
from pyrogen.measure.fid import frechet_distance, frechet_potential
from pyrogen.measure.intervals import corrected_variance, halves, wilson
from pyrogen.measure.likelihood import mean_score
from pyrogen.protocols import Score


def test_the_interval_of_a_score():
    score = Score(3.0, 0.5, "exact", "nats")
    assert score.interval == pytest.approx((2.02, 3.98), abs=1e-4)
    assert replace(score, value=4.0).interval == pytest.approx((3.02, 4.98), abs=1e-4)
    share = Score(0.0, 0.0, "statistic", "share", {"n": 10}, limits=(0.0, 0.3), values=torch.zeros(2))
    assert replace(share, detail={"k": 1}).interval == (0.0, 0.3)
    assert json.loads(json.dumps(share.as_dict())) == {
        "value": 0.0, "stderr": 0.0, "kind": "statistic", "unit": "share", "interval": [0.0, 0.3], "n": 10,
    }  # fmt: skip
    assert Score(3.0, 0.0, "statistic", "modes").interval is None
    assert "interval" not in Score(3.0, 0.0, "statistic", "modes").as_dict()


def test_wilson_of_known_shares():
    assert wilson(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27754), abs=1e-5)
    assert wilson(1.0, 10) == pytest.approx((1 - 0.27754, 1.0), abs=1e-5)


def test_the_corrected_variance():
    assert corrected_variance(5.0, 1.0, 0.65) == 4.0
    assert corrected_variance(1.2, 1.0, 0.65) == 0.65


def test_halves_of_means():
    x, y = points(60, seed=1).double(), 2 * points(40, seed=2).double()
    found = halves(lambda i, j: (x[i].mean(1)[:, None] - y[j].mean(1))[..., None], 60, 40)
    expected = x.var() / 30 + y.var() / 20
    assert float(found.variance) == pytest.approx(float(expected), rel=0.6)
    assert float(found.mean) == pytest.approx(float(x.mean() - y.mean()), abs=1e-9)
    of_second = float(found.contrasts.square().mean() / 4)
    assert of_second == pytest.approx(float(y.var() / 40), rel=0.6)


def test_the_potential_is_the_derivative_of_the_distance():
    p, q = (
        points(50, 3).double() * torch.tensor([1.0, 2.0, 0.5]) + 1,
        points(60, 3, seed=1).double() @ points(3, 3).double(),
    )
    mean_q, cov_q = q.mean(0), q.T.cov()

    def distance(weight):
        mean = weight @ p
        centred = p - mean
        return frechet_distance(mean, centred.T @ (centred * weight[:, None]), mean_q, cov_q)

    even = torch.full((50,), 1 / 50).double()
    u = p - p.mean(0)
    influence, _ = frechet_potential(u, u.T @ u / 50, cov_q, p.mean(0) - mean_q)
    for i in (0, 7, 31):
        toward = 1e-5 * (torch.nn.functional.one_hot(torch.tensor(i), 50) - even)
        slope = (distance(even + toward) - distance(even - toward)) / 2e-5
        assert slope == pytest.approx(float(influence[i] - influence.mean()), rel=1e-4)


def test_pairs_are_the_whole_variance_of_the_distance_of_equal_distributions():
    scores = [fid(points(300, 6, seed=i), points(300, 6, seed=1000 + i)) for i in range(150)]
    values = torch.tensor([score.value for score in scores])
    assert sum(score.stderr for score in scores) / 150 == pytest.approx(float(values.std()), rel=0.25)
    assert all(score.interval[0] >= 0 for score in scores)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_shares_cover_the_mean_over_redraws(shift):
    scores = []
    for i in range(60):
        samples, real = points(120, 4, seed=i) + shift, points(150, 4, seed=1000 + i)
        scores.append(precision_recall(samples, real) | density_coverage(samples, real))
    for name in scores[0]:
        mean = sum(score[name].value for score in scores) / len(scores)
        low, high = torch.tensor([score[name].interval for score in scores]).T
        assert float(((low <= mean) & (mean <= high)).double().mean()) >= 0.85, name
        assert float(low.min()) >= 0
        assert float(high.max()) <= (inf if name == "density" else 1)
        spread = torch.tensor([score[name].value for score in scores]).std()
        assert float(torch.tensor([score[name].stderr for score in scores]).mean()) == pytest.approx(
            float(spread), rel=0.4
        )


def test_shares_at_the_ends():
    x = points(40, 2)
    away = precision_recall(x + 100, x) | density_coverage(x + 100, x)
    assert {name: score.value for name, score in away.items()} == dict.fromkeys(away, 0.0)
    assert all(low == 0 < high < 0.2 for low, high in (score.interval for score in away.values()))
    same = precision_recall(x, x)["precision"]
    assert (same.value, same.interval[1]) == (1.0, 1.0)
    assert 0.8 < same.interval[0] < 1


def test_likelihoods_are_paired_by_datum():
    a = mean_score(torch.tensor([1.0, 5.0, 9.0, 4.0]), "exact")
    b = mean_score(torch.tensor([0.0, 4.5, 7.0, 3.5]), "lower_bound")
    difference = paired_difference(a, b)
    each = torch.tensor([1.0, 0.5, 2.0, 0.5])
    assert difference.value == pytest.approx(1.0)
    assert difference.stderr == pytest.approx(float(each.std() / 2), rel=1e-6)
    assert difference.detail["p_value"] == pytest.approx(0.00468, abs=2e-4)
    assert paired_difference(a, a).detail["p_value"] == 1
    alone = paired_difference(replace(a, values=None), b)
    assert alone.stderr == pytest.approx((a.stderr**2 + b.stderr**2) ** 0.5)


def test_scores_that_cannot_be_paired_are_refused():
    nats = mean_score(torch.arange(4.0), "exact")
    with pytest.raises(ConfigError, match="of the same test data, got 4 and 5 values"):
        paired_difference(nats, mean_score(torch.arange(5.0), "exact"))
    with pytest.raises(ConfigError, match=r"two comparable scores, got nats \(exact\) and bits/dim"):
        paired_difference(nats, mean_score(torch.arange(4.0), "exact", "bits/dim"))
    with pytest.raises(ConfigError, match="two comparable scores"):
        paired_difference(nats, mean_score(torch.arange(4.0), "estimate"))


@pytest.mark.parametrize("name", ["mmd2", "fid", "precision"])
def test_samples_of_two_models_against_the_same_data(name):
    """The reported error of the difference is its spread over redraws, below that of independent values."""
    measure = {
        "mmd2": lambda s, x: mmd2(s, x, 2),
        "fid": fid,
        "precision": lambda s, x: precision_recall(s, x)["precision"],
    }
    differences, alone = [], []
    for i in range(60):
        real = points(100, 4, seed=i)
        a, b = (measure[name](scale * points(250, 4, seed=s + i), real) for scale, s in ((1.5, 1000), (1.6, 2000)))
        differences.append(paired_difference(a, b))
        alone.append(paired_difference(replace(a, values=None), b).stderr)
    spread = float(torch.tensor([difference.value for difference in differences]).std())
    reported = sum(difference.stderr for difference in differences) / 60
    assert reported == pytest.approx(spread, rel=0.35)
    assert reported < 0.95 * sum(alone) / 60


def test_evaluated_models_are_paired():
    data = pyrogen.load("digits")
    x = data.train.tensors()[0]
    models = [pyrogen.explicit.PPCA.from_data(x, latent) for latent in (10, 12)]
    a, b = (pyrogen.evaluate(model, data)["log_likelihood"] for model in models)
    paired = paired_difference(a, b)
    assert paired.value == pytest.approx(a.value - b.value)
    assert 0 < paired.stderr < 0.3 * (a.stderr**2 + b.stderr**2) ** 0.5
