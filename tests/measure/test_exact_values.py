"""Measures of a few points, by hand or by plain loops: value, standard error, kind, unit and detail."""

from importlib import import_module
from math import exp, log, pi

import pytest
import torch
from helpers import points
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch.nn.functional import softplus

from pyrogen.measure.c2st import c2st
from pyrogen.measure.coverage import mode_count_scores, mode_scores, sampling_floor
from pyrogen.measure.divergence import CriticBudget, jensen_shannon, js_by_critic, w1_by_critic
from pyrogen.measure.fid import fid, inception_score, kid, precision_recall
from pyrogen.measure.kde import kde_score
from pyrogen.measure.mmd import mmd2
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.measure.verdict.neighbours import nearest_neighbour
from pyrogen.protocols import Score
from pyrogen.random import random_rows


def approx(score):
    return Score(pytest.approx(score.value), pytest.approx(score.stderr), score.kind, score.unit, score.detail)


def test_fid_on_the_line():
    """Means 1 and 4; variances 1 and 4 with n - 1 in the denominator.

    The influence of a row at distance u from its mean is u² (1 - s_q / s_p) + 2 (m_p - m_q) u.
    """
    p, q = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[2.0], [4.0], [4.0], [6.0]])
    variance = 8 / 3
    score = fid(p, q)
    assert score == approx(
        Score(9 + (1 - variance**0.5) ** 2, score.stderr, "statistic", "fid", {"n": 3, "reference": 4})
    )
    u = q[:, 0].double() - 4
    assert torch.allclose(score.values, u.square() * (1 - variance**-0.5) + 6 * u)
    assert score.interval == pytest.approx(
        (max(score.value - 1.96 * score.stderr, 0), score.value + 1.96 * score.stderr), rel=1e-4
    )


def test_kid_by_loops():
    samples, real = points(40, 3), points(60, 3, seed=1)
    score = kid(samples, real)
    assert score == approx(Score(kid_block(samples, real), score.stderr, "estimate", "mmd2", {"n": 40}))


def test_kid_of_many_rows_is_the_mean_over_blocks(monkeypatch):
    monkeypatch.setattr(import_module("pyrogen.measure.fid"), "KID_BLOCK", 20)
    samples, real = points(40, 3), points(60, 3, seed=1)
    blocks = [kid(p, q) for p, q in zip(samples.tensor_split(2), real.tensor_split(2), strict=True)]
    score = kid(samples, real)
    assert score.value == pytest.approx(sum(block.value for block in blocks) / 2)
    assert score.stderr == pytest.approx(sum(block.stderr**2 for block in blocks) ** 0.5 / 2)
    assert len(score.values) == 60


def kid_block(p, q):
    def k(a, b):
        return float((a.double() @ b.double() / 3 + 1) ** 3)

    n, m = len(p), len(q)
    within_p = sum(k(p[i], p[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_q = sum(k(q[i], q[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_p + within_q - 2 * sum(k(a, b) for a in p for b in q) / (n * m)


def test_inception_score_of_two_pictures():
    p = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]).double()
    kl = (p * (p / p.mean(0)).log()).sum(1)
    value = exp(float(kl.mean()))
    stderr = value * float(kl.std()) / 3**0.5
    assert inception_score(p.log()) == approx(Score(value, stderr, "statistic", "classes", {"n": 3}))


@pytest.mark.parametrize(("k", "precision", "recall"), [(1, 1 / 3, 2 / 4), (2, 2 / 3, 3 / 4)])
def test_precision_and_recall_on_the_line(k, precision, recall):
    """Balls that reach to the first and to the second neighbour.

    Of the data 0, 1, 3, 20 the radii are 1, 1, 2, 17 and 3, 2, 3, 19; of the samples -0.5, -2.5, -4.5 they are 2, 2, 2
    and 4, 2, 4. So of the samples one, or two, lie in a ball of the data, and of the data two (0 and 1), or three.
    """
    real = torch.tensor([[0.0], [1.0], [3.0], [20.0]])
    samples = torch.tensor([[-0.5], [-2.5], [-4.5]])
    found = precision_recall(samples, real, k)
    for name, share, n in (("precision", precision, 3), ("recall", recall, 4)):
        stderr = (share * (1 - share) / n) ** 0.5
        assert found[name] == approx(Score(share, stderr, "statistic", "share", {"k": k, "n": n}))


def test_third_neighbours_by_default():
    found = precision_recall(points(30, 2), points(20, 2, seed=1))
    assert found == precision_recall(points(30, 2), points(20, 2, seed=1), 3)
    assert {name: score.detail for name, score in found.items()} == {
        "precision": {"k": 3, "n": 30},
        "recall": {"k": 3, "n": 20},
    }


def test_c2st_is_that_of_scikit_learn():
    samples, real = points(25, 2) + 0.8, points(20, 2, seed=1)
    taken = [random_rows(samples, 20, 3, "c2st", "samples"), random_rows(real, 20, 3, "c2st", "real")]
    x, label = torch.cat(taken).numpy(), torch.arange(2).repeat_interleave(20).numpy()
    trees = ExtraTreesClassifier(100, min_samples_leaf=2, random_state=3)
    splits = StratifiedKFold(5, shuffle=True, random_state=3)
    found = cross_val_predict(trees, x, label, cv=splits)
    share = float((found == label).mean())
    half = 1.96 * ((1 + 2 / pi) * 0.25 / 40) ** 0.5
    score = c2st(samples, real, seed=3)
    assert (score.value, score.kind, score.unit) == (share, "statistic", "accuracy")
    assert score.detail["null"] == pytest.approx([0.5 - half, 0.5 + half])
    assert (score.detail["n"], 2 * float(score.values.sum())) == (40, share * 40 - float((found == label)[:20].sum()))


def test_coverage_of_five_points():
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = torch.tensor([[0.0, 2.9], [0.1, 0.0], [10.0, 3.1], [10.0, 0.0], [9.0, 1.0]])
    scores = mode_scores(samples, modes, 1.0)
    kl = 0.4 * log(1.2) + 0.6 * log(1.8)
    floor = 3 * (1 - exp(-5 / 3))
    assert scores["modes"] == approx(Score(2, 0.0, "statistic", "modes", {"of": 3, "n": 5, "floor": floor}))
    divergence = Score(kl, 0.0, "estimate", "nats", {"n": 5, "floor": sampling_floor(5, 3)})
    assert scores["reverse_kl"] == approx(divergence)
    quality = scores["high_quality"]
    assert (quality.value, quality.kind, quality.unit) == (pytest.approx(0.8), "statistic", "share")
    assert quality.stderr == pytest.approx((0.8 * 0.2 / 5) ** 0.5)
    assert quality.detail == {"n": 5, "floor": pytest.approx(1 - exp(-4.5))}
    cube = mode_scores(torch.zeros(2, 3), torch.zeros(1, 3), 1.0)["high_quality"]
    assert cube.detail["floor"] == pytest.approx(0.9707, abs=1e-4)  # of a Gaussian in space
    assert mode_count_scores(torch.tensor([0, 1, 1]), 2, good=torch.tensor([1]))["modes"].value == 1


def test_sampling_floor_of_one_draw_and_of_two():
    assert sampling_floor(1, 4) == pytest.approx(log(4))
    assert sampling_floor(2, 4) == pytest.approx(0.25 * log(4) + 0.75 * log(2))


def test_jensen_shannon_of_few_points():
    x, y = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([-1.0, 0.5])
    score = jensen_shannon(lambda t: 2 * t, lambda t: t - 1, x, y)  # log p - log q = t + 1
    u, v = -softplus(-(x.double() + 1)), -softplus(y.double() + 1)
    value = log(2) + 0.5 * float(u.mean() + v.mean())
    stderr = 0.5 * float(u.var() / 3 + v.var() / 2) ** 0.5
    assert score == approx(Score(value, stderr, "estimate", "nats", {"n": 5}))


TINY = CriticBudget(hidden=(8,), steps=40, batch_size=16, lr=2e-2)


def test_critics_see_data_in_their_own_unit():
    x, y = points(300, 2), points(200, 2, seed=1) + 1
    for measure, unit in ((js_by_critic, 1), (w1_by_critic, 3)):
        found, scaled = measure(x, y, TINY), measure(3 * x + 50, 3 * y + 50, TINY)
        assert scaled.value == pytest.approx(unit * found.value, rel=1e-2)
        assert scaled.stderr == pytest.approx(unit * found.stderr, rel=1e-2)
        assert found.value > 0
        assert measure(x, y, TINY) == found
        assert measure(x, y, CriticBudget((8,), 40, 16, 2e-2, seed=1)) != found
    assert w1_by_critic(x, y, TINY).detail == {"n": 150}
    assert js_by_critic(x, y, TINY).detail == {"n": 250}
    assert js_by_critic(x, y, TINY).unit == "nats"
    assert w1_by_critic(x, y, TINY).kind == "estimate"


def test_critics_judge_rows_that_they_were_not_trained_on():
    """Few rows can be told apart one by one where the critic learns, and not where it is judged."""
    same, other, far = points(60, 20), points(60, 20, seed=1), points(60, 20, seed=2) + 2
    budget = CriticBudget((64,), 300, 32, lr=1e-2)
    assert js_by_critic(same, other, budget).value < 0
    assert js_by_critic(same, far, budget).value > 0.3


def test_a_larger_penalty_keeps_the_slope_nearer_to_one():
    x, y = points(400, 1), points(400, 1, seed=1) + 3
    budget = CriticBudget((16,), 150, 64, lr=2e-2)
    loose, default, strict = (w1_by_critic(x, y, budget, penalty=penalty).value for penalty in (0.1, 10.0, 100.0))
    assert loose > 2 * default
    assert default == w1_by_critic(x, y, budget).value
    assert strict < default < 3.6


def test_budget_of_a_critic():
    assert CriticBudget() == CriticBudget((128, 128, 128), 2000, 256, 2e-3, 0)


def test_kernel_estimate_of_two_samples():
    samples, valid = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.2], [0.9]])
    score = kde_score(torch.tensor([[0.0], [0.5], [2.0]]), samples, valid)
    h = score.detail["bandwidth"]
    density = [
        sum(exp(-0.5 * ((x - s) / h) ** 2) for s in (0.0, 1.0)) / (2 * h * (2 * torch.pi) ** 0.5) for x in (0, 0.5, 2)
    ]
    values = torch.tensor(density).double().log()
    assert score.value == pytest.approx(float(values.mean()), rel=1e-5)
    assert score.stderr == pytest.approx(float(values.std()) / 3**0.5, rel=1e-4)
    assert (score.kind, score.unit, score.detail["samples"], score.detail["n"]) == ("estimate", "nats", 2, 3)


def test_mmd_of_defaults():
    x, y = points(12, 2) + 0.4, points(15, 2, seed=1)
    score = mmd2(x, y)
    assert score == mmd2(x, y, 500, 0)
    assert (score.kind, score.unit) == ("estimate", "mmd2")
    assert score.detail.keys() == {"p_value", "n", "bandwidth"}
    assert (score.detail["p_value"] * 501) % 1 == pytest.approx(0, abs=1e-6)
    distances = torch.pdist(y.double())
    assert score.detail["bandwidth"] == pytest.approx(float(distances.median()), rel=1e-6)
    again = [mmd2(x, y, 500, seed).value for seed in (1, 2)]
    assert again == [score.value] * 2  # the seed is of the permutations alone
    assert mmd2(x, torch.zeros(5, 2), 3).detail["bandwidth"] == 1e-12


def test_nearest_neighbours_on_the_line():
    train = torch.tensor([[0.0], [10.0]])
    score = nearest_neighbour(torch.tensor([[1.0], [8.0], [13.0]]), train, torch.tensor([[4.0], [11.0]]))
    assert score == approx(Score(2.0, (1 / 3) ** 0.5, "statistic", "distance", {"ratio": pytest.approx(0.8), "n": 3}))
    assert nearest_neighbour(train, train, train).detail["ratio"] == 0


def test_reconstruction_of_three_data():
    x, y = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 8.0]]]), torch.tensor([0.0, 1.0, 3.0])
    errors = torch.tensor([0.0, 1.0, 9.0])
    seen = []

    def shifted(x, y):
        seen.append(len(x))
        return x + y[:, None, None]

    expected = Score(10 / 3, float(errors.std()) / 3**0.5, "statistic", "mse", {"n": 3})
    assert reconstruction_score(shifted, x, y) == approx(expected)
    assert reconstruction_score(shifted, x, y, rows=2) == approx(expected)
    assert seen == [3, 2, 1]
    assert reconstruction_score(shifted, x[1:2], y[1:2]).stderr == 0
    weight = torch.ones(2, requires_grad=True)
    assert reconstruction_score(lambda x: x * weight, x).value == 0
