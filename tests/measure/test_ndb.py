"""The number of statistically different bins: by hand, under the null, and as published on MNIST."""

from math import log
from statistics import NormalDist

import pytest
import torch

import pyrogen
from pyrogen.errors import ConfigError, DataError
from pyrogen.measure import Bins, ndb


def three_bins():
    """40, 40 and 20 rows around 0, 10 and 20."""
    x = torch.cat([torch.full((40,), 0.0), torch.full((40,), 10.0), torch.full((20,), 20.0)])
    return (x + 0.1 * torch.rand(100, generator=torch.Generator().manual_seed(0)))[:, None]


def test_by_hand():
    """Shares .4, .4, .2 of 100 against .4, .3, .3 of 200: z = 0, 1.70, 1.83."""
    samples = torch.cat([torch.full((80,), 0.0), torch.full((60,), 10.0), torch.full((60,), 20.0)])[:, None]
    p, q = torch.tensor([0.4, 0.4, 0.2]), torch.tensor([0.4, 0.3, 0.3])
    pooled = (100 * p + 200 * q) / 300
    z = (p - q).abs() / (pooled * (1 - pooled) * (1 / 100 + 1 / 200)).sqrt()
    assert ndb(samples, three_bins(), 3).value == 0
    for limit in (1.6, 1.8, 1.9):
        score = ndb(samples, three_bins(), 3, significance=2 * NormalDist().cdf(-limit))
        assert score.value == int((z > limit).sum()), limit
    mean = (p + q) / 2
    divergence = 0.5 * ((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum())
    assert score.detail["jensen_shannon"] == pytest.approx(float(divergence), abs=1e-7)
    assert (score.detail["of"], score.detail["n"], score.detail["reference"]) == (3, 200, 100)


def test_samples_of_one_bin():
    score = ndb(torch.zeros(100, 1), three_bins(), 3)
    assert score.value == 3
    assert score.detail["share"] == 1
    assert 0 < score.detail["jensen_shannon"] < log(2)


def test_of_one_distribution_the_expected_number_differs():
    draws = torch.Generator().manual_seed(0)
    scores = [
        ndb(torch.randn(500, 2, generator=draws), torch.randn(1000, 2, generator=draws), 20, seed=i) for i in range(60)
    ]
    found = torch.tensor([float(score.value) for score in scores])
    expected = sum(score.detail["expected"] for score in scores) / len(scores)
    assert expected == pytest.approx(1.0, abs=0.1)
    assert float(found.mean()) == pytest.approx(expected, abs=4 * float(found.std()) / 60**0.5)


def test_the_same_bins_serve_many_sets_and_rows_in_any_order():
    x = torch.randn(300, 2, 2, generator=torch.Generator().manual_seed(0))
    bins = Bins(x, 10)
    assert ndb(x, bins).value == 0
    assert ndb(x, bins).detail["jensen_shannon"] == 0
    assert ndb(x[:100], bins) == ndb(x[:100].flip(0), bins)
    assert ndb(x[:100], bins) == ndb(x[:100], x, 10)
    assert len(Bins(x).counts) == 15  # 20 rows each


def test_what_cannot_be_measured_is_refused():
    x = torch.randn(30, 2)
    with pytest.raises(ConfigError, match="ndb: expected 2 to 30 bins, one training row each at least; got 31"):
        ndb(x, x, 31)
    with pytest.raises(ConfigError, match="expected a significance between 0 and 1, got 1"):
        ndb(x, x, 3, significance=1)
    with pytest.raises(ConfigError, match="expected samples of 2 values, as training data have; got 3"):
        ndb(torch.randn(30, 3), x, 3)
    with pytest.raises(DataError, match="ndb: expected finite values, got 1 of 1 rows of samples that are not"):
        ndb(torch.full((1, 2), float("nan")), x, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_published_numbers_on_mnist(mnist_root):
    """Published: 0 of held-out training images, 4 of test images, 11 without nines; see docs/scripts/ndb_mnist.py."""
    data = pyrogen.load("mnist", mnist_root)
    parts = [(data.space.to_comparable(x), y) for x, y, *_ in (part.tensors() for part in (data.train, data.valid))]
    x, y = (torch.cat(rows) for rows in zip(*parts, strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    bins, held_out = Bins(x[order[:45_000]], 100), order[45_000:]
    test = data.space.to_comparable(data.test.tensors()[0])
    queries = (x[held_out[:10_000]], test, x[held_out[y[held_out] != 9][:10_000]])
    three, four = (
        [ndb(query, bins, significance=2 * NormalDist().cdf(-errors)) for query in queries] for errors in (3, 4)
    )
    print([[score.value, score.detail["jensen_shannon"]] for score in (*three, *four)])
    for low, high, published in zip(four, three, (0, 4, 11), strict=True):
        assert low.value <= published <= high.value
    assert [s.detail["jensen_shannon"] for s in four] == pytest.approx([0.0014, 0.0041, 0.016], rel=0.25)
