"""The Fréchet and kernel distances agree with torchmetrics, an independent implementation, on the same features."""

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from pyrogen.measure import fid, kid


class Given(nn.Module):
    """A feature network of torchmetrics whose features are the values of the images."""

    num_features = 12

    def forward(self, x):
        return x.flatten(1)


@pytest.fixture
def sets():
    draws = torch.Generator().manual_seed(0)
    mix = torch.randn(12, 12, generator=draws, dtype=torch.float64)
    real = torch.randn(500, 12, generator=draws, dtype=torch.float64) @ mix
    samples = 1.2 * torch.randn(300, 12, generator=draws, dtype=torch.float64) @ mix.tril() + 0.5
    return samples, real


def judged(metric, samples, real):
    for rows, is_real in ((samples, False), (real, True)):
        metric.update(rows.view(-1, 3, 2, 2), real=is_real)
    return metric.compute()


def test_fid(sets):
    metric = FrechetInceptionDistance(feature=Given(), normalize=True).set_dtype(torch.float64)
    assert fid(*sets).value == pytest.approx(float(judged(metric, *sets)), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kid_of_one_whole_subset(sets):
    samples, real = (rows[:300] for rows in sets)
    metric = KernelInceptionDistance(feature=Given(), subsets=1, subset_size=300, normalize=True)
    assert kid(samples, real).value == pytest.approx(float(judged(metric, samples, real)[0]), rel=1e-4)
