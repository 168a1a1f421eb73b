"""A user's own model trains, samples, evaluates and joins a comparison, with nothing subclassed or registered."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch.optim import Adam

import pyrogen
from pyrogen.comparison import ComparisonConfig, run_comparison
from pyrogen.errors import ConfigError
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")


def function_pair():
    def model(x):
        load = pyro.param("load", 0.1 * torch.randn(64, 4))
        scale = pyro.param("scale", torch.tensor(0.3), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal((z @ load.T + 0.3).view(-1, 1, 8, 8), scale).to_event(3), obs=x)

    def guide(x):
        read = pyro.param("read", 0.1 * torch.randn(64, 4))
        width = pyro.param("width", torch.ones(4), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x.flatten(1) - 0.3) @ read, width).to_event(1))

    return pyrogen.SVI(model, guide, optim=partial(Adam, lr=0.01)), "lower_bound"


def pyro_module_with_autoguide():
    class Bayes(PyroModule):
        def __init__(self):
            super().__init__()
            self.loc = PyroSample(dist.Normal(0.5, 1.0).expand([1, 8, 8]).to_event(3))

        def forward(self, x):
            loc = self.loc
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(loc, 0.3).to_event(3), obs=x)

    model = Bayes()
    return pyrogen.SVI(model, AutoNormal(model, init_scale=0.01), optim=partial(Adam, lr=0.03)), "lower_bound"


def enumerated_mixture():
    @config_enumerate
    def model(x):
        weights = pyro.param("weights", torch.ones(5) / 5, constraint=dist.constraints.simplex)
        loc = pyro.param("loc", torch.rand(5, 64))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(loc[k], 0.3).to_event(1), obs=x.flatten(1))

    step = pyrogen.SVI(model, optim=partial(Adam, lr=0.03), loss=TraceEnum_ELBO(max_plate_nesting=1))
    return step, "exact"


MODELS = {f.__name__: f for f in (function_pair, pyro_module_with_autoguide, enumerated_mixture)}


@pytest.mark.parametrize("name", MODELS)
def test_trains_samples_evaluates_and_compares(name, tmp_path):
    torch.manual_seed(0)
    data = pyrogen.load("digits")
    step, kind = MODELS[name]()
    curve = [float(logs["loss"]) for _, logs in pyrogen.fit(step, data.train, steps=300, batch_size=128)]
    assert sum(curve[-20:]) < sum(curve[:20])
    assert step.sample(10).shape == (10, 1, 8, 8)
    score = pyrogen.evaluate(step, data.test, k=20)["log_likelihood"]
    assert (score.kind, score.unit, score.detail["n"]) == (kind, "nats", 450)
    assert score.value == pytest.approx(-sum(curve[-20:]) / 20, abs=5)

    card = pyrogen.compare(["gaussian"], own={"mine": step}, steps=30, out=tmp_path / "c")
    assert card["models"]["mine"]["family"] == "explicit"
    assert card["models"]["mine"]["scores"]["log_likelihood"]["kind"] == kind
    assert card["models"]["mine"]["parameters"] > 0
    assert "mine" in (tmp_path / "c" / "report.html").read_text()


def test_a_comparison_with_own_models_goes_on_only_with_them(tmp_path):
    """The folder keeps recipes' runs, not somebody's objects: going on without them would lose them silently."""
    data = pyrogen.load("digits")
    own = {"mine": pyrogen.explicit.Gaussian.from_data(data.train.tensors()[0], "diagonal", jitter=1e-4)}
    pyrogen.compare(own=own, out=tmp_path / "run", steps=5, features=["values"])
    with pytest.raises(ConfigError, match="own model 'mine' is not stored"):
        run_comparison(Run.open(tmp_path / "run", ComparisonConfig))
    assert "mine" in run_comparison(Run.open(tmp_path / "run", ComparisonConfig), own=own)["models"]


def test_one_split_knows_its_measure():
    data = pyrogen.load("digits-binary")
    gaussian = pyrogen.explicit.Gaussian((1, 8, 8))
    with pytest.raises(ConfigError, match="mass"):
        pyrogen.evaluate(gaussian, data.test)
    assert str(pyrogen.Score(-86.123, 0.31, "lower_bound", "nats")) == "-86.12 ± 0.31 nats (lower bound)"
