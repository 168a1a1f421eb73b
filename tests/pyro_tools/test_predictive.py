"""``step.sample`` raises for programs that read the values of their observed argument, and only for those."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.errors import ConfigError


def trained(model, *batch, guide=None):
    step = SVI(model, guide, partial(SGD, lr=0.0))
    step(*batch)
    return step


def scale():
    return pyro.param("s", torch.tensor(1.0), constraint=dist.constraints.positive)


def observe(x, loc, n=None):
    with pyro.plate("data", len(x) if n is None else n):
        return pyro.sample("x", dist.Normal(loc, scale()).to_event(1), obs=x)


def walk(x):
    observe(x, torch.cat([torch.zeros(len(x), 1), x[:, :-1]], 1))


def missing(x):
    observe(x, x.isnan().float())


def far(x):
    observe(x, (x > 3).float())


def negative(x):
    observe(x, (x < 0).any(1, keepdim=True).float().expand(x.shape))


def indexing(x):
    observe(x, torch.zeros(4)[(10 * x[:, :1]).long()])


def shared(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    observe(x, w[None].expand(len(x), 2)[:, :1].expand(x.shape))


def shared_guide(x):
    pyro.sample("w", dist.Normal(x.mean().expand(2), 1.0).to_event(1))


@pytest.mark.parametrize("model", [walk, missing, far, negative, indexing])
def test_a_model_that_reads_its_data_is_rejected(model):
    step = trained(model, torch.rand(10, 4) * 0.05)
    with pytest.raises(ConfigError, match=r"cannot sample: the model reads .*`sample\(n, y\)`.*as y"):
        step.sample(20)


def test_a_guide_whose_global_latent_reads_the_data_is_rejected():
    step = trained(shared, torch.rand(10, 4), guide=shared_guide)
    with pytest.raises(ConfigError, match="cannot sample"):
        step.sample(20)


def test_a_regression_samples_only_with_the_inputs_as_y():
    x, y = torch.randn(50, 1), torch.randn(50)

    def model(x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(3.0 * x[:, 0] + scale() * 0, 0.1), obs=y)

    with pytest.raises(ConfigError, match="cannot sample"):
        trained(model, x, y).sample(50, y)

    def turned(y, x):
        return model(x, y)

    drawn = trained(turned, y, x).sample(50, x)
    assert torch.allclose(drawn, 3.0 * x[:, 0], atol=0.6)


def test_the_error_names_the_argument():
    from pyrogen.pyro_tools.predictive import sample_predictive

    def model(pictures):
        with pyro.plate("data", len(pictures)):
            pyro.sample("x", dist.Normal(pictures, 1.0), obs=pictures)

    with pytest.raises(ConfigError, match="its argument 'pictures'"):
        sample_predictive(model, lambda x: None, torch.zeros(()), 5, None)


class OfShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))

    def model(self, x):
        observe(x, self.net(torch.ones_like(x)))


@pytest.mark.parametrize(
    "model",
    [
        lambda x: observe(x, x.new_zeros(len(x), 4)),
        lambda x: observe(x, torch.zeros_like(x)),
        lambda x: observe(x, x * 0),
        lambda x: observe(x, torch.zeros(x.shape, device=x.device, dtype=x.dtype)),
        lambda x: observe(x.reshape(len(x), -1), torch.zeros(x.shape)),
        lambda x: observe((x - 1) / 2, torch.zeros(x.shape)),
        OfShape().model,
    ],
)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_reading_shapes_is_allowed(model, n):
    step = trained(model, torch.rand(10, 4))
    assert step.sample(n).shape == (n, 4)


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.uint8])
def test_integer_and_boolean_data(dtype):
    x = torch.zeros(10, dtype=dtype)

    def free(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(logits=pyro.param("l", torch.tensor(0.0))), obs=x.float())

    def reads(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(scale() * 0 + 0.1 + 0.8 * x.float()), obs=x.float())

    assert trained(free, x).sample(5).shape == (5,)
    with pytest.raises(ConfigError, match="cannot sample"):
        trained(reads, x).sample(50)


def test_the_check_does_not_change_the_draws():
    step = trained(lambda x: observe(x, x.new_zeros(len(x), 4)), torch.rand(10, 4))
    torch.manual_seed(3)
    first = step.sample(5)
    torch.manual_seed(3)
    assert torch.equal(step.sample(5), first)
    assert first.std() > 0.1
