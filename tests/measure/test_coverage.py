"""Mode coverage and its floors: closed forms, simulation, and scores under mode collapse."""

from math import exp, log

import pytest
import torch
from helpers import points

from pyrogen.data.toy import grid, ring
from pyrogen.measure.coverage import mode_count_scores, mode_scores, sampling_floor, stacked_modes


def draws(n, seed=0, toy=ring):
    return toy().sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("toy", [ring, grid])
def test_the_true_density_scores_the_floors(toy):
    truth = toy()
    scores = [mode_scores(draws(2500, seed, toy), truth.modes, truth.std) for seed in range(40)]
    for name, score in scores[0].items():
        mean = sum(s[name].value for s in scores) / len(scores)
        assert mean == pytest.approx(score.detail["floor"], rel={"reverse_kl": 0.25}.get(name, 0.002))
    assert scores[0]["high_quality"].detail["floor"] == pytest.approx(1 - exp(-4.5))


@pytest.mark.parametrize(("n", "k", "published"), [(2500, 8, 0.0014), (2500, 25, 0.0048), (26_000, 1000, 0.0193)])
def test_sampling_floor(n, k, published):
    assert sampling_floor(n, k) == pytest.approx(published, abs=6e-5)


def test_sampling_floor_by_simulation():
    draws = torch.randint(5, (20_000, 12), generator=torch.Generator().manual_seed(0))
    shares = torch.nn.functional.one_hot(draws, 5).double().mean(1)
    simulated = torch.special.xlogy(shares, shares * 5).sum(1).mean().item()
    assert sampling_floor(12, 5) == pytest.approx(simulated, rel=0.02)


def test_reverse_kl_of_lost_modes():
    truth = ring()
    samples = draws(20_000)
    nearest = torch.cdist(samples, truth.modes).argmin(1)
    scores = mode_scores(samples[nearest < 4], truth.modes, truth.std)
    assert scores["modes"].value == 4
    assert scores["reverse_kl"].value == pytest.approx(log(2), abs=0.005)
    assert scores["high_quality"].value == pytest.approx(1 - exp(-4.5), abs=0.005)


def test_a_far_sample_finds_no_mode_and_has_no_quality():
    truth = ring()
    scores = mode_scores(truth.modes + torch.tensor([0.0, 0.031]), truth.modes, truth.std)
    assert scores["modes"].value == 0
    assert scores["high_quality"].value == 0
    assert scores["reverse_kl"].value == pytest.approx(0)
    assert mode_scores(truth.modes + torch.tensor([0.0, 0.029]), truth.modes, truth.std)["modes"].value == 8


def test_counts_of_known_modes():
    scores = mode_count_scores(torch.tensor([0, 0, 1, 2]), 4)
    assert scores["modes"].value == 3
    assert scores["modes"].detail["of"] == 4
    assert scores["reverse_kl"].value == pytest.approx(0.5 * log(2))


def test_modes_of_stacked_digits():
    """A classifier that reads the class from the first pixel."""

    def judge(digits):
        assert digits.shape[1:] == (1, 28, 28)
        return digits.flatten(1), torch.nn.functional.one_hot((digits[:, 0, 0, 0] * 10).long(), 10).float()

    images = torch.zeros(2, 3, 28, 28)
    images[0, :, 0, 0] = torch.tensor([0.15, 0.25, 0.35])
    images[1, :, 0, 0] = torch.tensor([0.95, 0.0, 0.75])
    assert stacked_modes(images, judge).tolist() == [123, 907]


def test_modes_of_a_perfect_sampler():
    toy, n = ring(), 20_000
    scores = mode_scores(toy.sample(n, torch.Generator().manual_seed(0)), toy.modes, toy.std)
    assert (scores["modes"].value, scores["modes"].detail) == (8, {"of": 8, "n": n, "floor": 8.0})
    within = 1 - exp(-4.5)  # the share of a Gaussian in the plane within 3 σ
    assert scores["high_quality"].value == pytest.approx(within, abs=4 * (within * (1 - within) / n) ** 0.5)
    assert scores["high_quality"].stderr == pytest.approx((within * (1 - within) / n) ** 0.5, rel=0.1)
    assert 0 <= scores["reverse_kl"].value < 5 * 7 / (2 * n)  # 7 / 2n on average


@pytest.mark.parametrize("kept", [7, 3, 1])
def test_modes_missing(kept):
    toy = ring()
    samples = toy.modes[torch.arange(840) % kept] + 0.01 * points(840, 2).clamp(-2, 2)
    scores = mode_scores(samples, toy.modes, toy.std)
    assert scores["modes"].value == kept
    assert scores["high_quality"].value == 1
    assert scores["high_quality"].stderr == 0
    assert scores["reverse_kl"].value == pytest.approx(log(8 / kept), abs=1e-9)


def test_modes_of_noise():
    scores = mode_scores(torch.zeros(100, 2) + 0.001 * points(100, 2), ring().modes, 0.01)
    assert scores["modes"].value == 0
    assert scores["high_quality"].value == 0
