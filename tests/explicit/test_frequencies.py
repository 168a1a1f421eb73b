"""Densities that keep the data: the kernel estimate and the histogram."""

import pytest
import torch

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.explicit import Histogram, KernelDensity
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.random import scoped_seed
from pyrogen.recipes.densities import histogram, kde
from pyrogen.training import configure, train
from pyrogen.training.run import Run


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_kernel_density_by_hand():
    points = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    model = KernelDensity(points, 0.5)
    x = normal(9, 2)
    each = torch.distributions.Normal(points, 0.5).log_prob(x[:, None]).sum(2)
    assert torch.allclose(model.log_prob(x), each.exp().mean(1).log(), atol=1e-5)


def test_bandwidth_is_the_best_on_validation_data():
    x, valid, test = normal(500, 2), normal(500, 2, 1), normal(5000, 2, 2)
    model = KernelDensity.from_data(x, valid)
    best = model.log_prob(valid).mean()
    for factor in (0.8, 1.25):
        assert KernelDensity(x, float(model.bandwidth) * factor).log_prob(valid).mean() < best
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(test).sum(1).mean()
    assert truth - 0.1 < model.log_prob(test).mean() < truth


def test_histogram_counts():
    x = torch.tensor([[0.1], [0.2], [0.3], [1.0]])
    model = Histogram.from_data(x, 3, background=1e-6)
    inside = torch.tensor([[0.15], [0.5], [0.99]])
    assert torch.allclose(model.log_prob(inside).exp(), torch.tensor([3 / 4, 0, 1 / 4]) / 0.3, atol=1e-3)
    assert model.log_prob(torch.tensor([[50.0]])) < -1000  # outside there is only the background


def test_histogram_of_a_uniform_density_is_exact():
    data = pyrogen.load("checkerboard")
    x, *_ = data.train.tensors()
    model = Histogram.from_data(x, 32)
    with torch.no_grad():
        gap = -data.truth.entropy - model.log_prob(data.test.x).mean() - data.space.log_det
    assert gap == pytest.approx(512 / (2 * len(data.train)), abs=0.005)  # (cells - 1) / 2n, as theory has it


def test_histogram_of_binary_data_is_a_table():
    p = torch.tensor([0.2, 0.7, 0.5])
    x = torch.bernoulli(p.expand(20_000, 3), generator=torch.Generator().manual_seed(0))
    model = Histogram.from_data(x, 2, "mass", background=1e-4)
    every = torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0])])
    mass = model.log_prob(every).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(mass, (p * every + (1 - p) * (1 - every)).prod(1), atol=0.01)
    with scoped_seed(0):
        drawn = model.sample(20_000)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(drawn.mean(0), p, atol=0.02)


@pytest.mark.parametrize("model", ["histogram", "kde"])
def test_the_whole_run(tmp_path, model):
    run = Run.create(tmp_path / "run", configure(model, "moons", options={"points": 500} if model == "kde" else {}))
    trained = train(run)
    (row,) = run.metrics()
    assert row["valid_loss"] - trained.data.space.log_det < 1
    result = evaluate_run(pyrogen.open(run.path))
    assert list(result) == ["model", "data", "split", "n", "scores"]
    assert [result[key] for key in ("model", "data", "split", "n")] == [model, "moons", "test", len(trained.data.test)]
    scores = result["scores"]
    assert scores["log_likelihood"]["kind"] == "exact"
    assert -0.6 < scores["log_likelihood"]["value"] < -trained.data.truth.entropy
    assert scores["mmd2"]["value"] < 0.01


def test_bad_input_is_named():
    digits, binary = pyrogen.load("digits"), pyrogen.load("digits-binary")
    with pytest.raises(ConfigError, match=rf"2 bins in 64 dimensions has 2\^64 cells, more than {Histogram.MAX_CELLS}"):
        histogram(digits)
    with pytest.raises(ConfigError, match=r"2\^64 cells"):
        histogram(binary)
    with pytest.raises(ConfigError, match="needs 2 bins; got 3"):
        Histogram((2,), 3, "mass")
    with pytest.raises(ConfigError, match="background must lie between 0 and 1; got 0"):
        Histogram((2,), 3, background=0)
    with pytest.raises(ConfigError, match="bandwidth must be positive"):
        KernelDensity(normal(3, 2), 0.0)
    with pytest.raises(ConfigError, match=r"kernel-density estimate computes a probability density.*mass"):
        kde(binary)
    with pytest.raises(ConfigError, match="points must be greater than 0; got -5"):
        kde(digits, points=-5)
