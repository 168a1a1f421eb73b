"""Ten planted faults: each makes a loop of ``fit``, and the message must name step, rows and site or term."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.optim import SGD, Adam

import pyrogen
from pyrogen import SVI, AdversarialGame
from pyrogen.explicit import VAE, Histogram
from pyrogen.explicit.likelihoods import GaussianLikelihood
from pyrogen.objectives import BetaELBO, Wasserstein
from pyrogen.steps import ClosedForm, GradientStep

X = torch.rand(64, 5, generator=torch.Generator().manual_seed(0)) + 0.1


class Regression(nn.Module):
    """x = w + noise, whose scale is a function of a weight."""

    def __init__(self, scale):
        super().__init__()
        self.w, self.s, self.scale = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(())), scale

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.w, self.scale(self.s)).to_event(1), obs=x)


class Latent(nn.Module):
    """A pair with z of one dimension; ``prior()`` is p(z), ``posterior(h)`` is q(z | x)."""

    def __init__(self, prior, posterior):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 1), nn.Linear(1, 5)
        self.prior, self.posterior = prior, posterior

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x.new_zeros(len(x), 1)).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(self.encoder(x)).to_event(1))


def with_nan(row=7, column=2):
    x = X.clone()
    x[row, column] = float("nan")
    return x


def nan_in_data():
    model = VAE((5,), latent=2, hidden=(8,), likelihood=GaussianLikelihood(1.0))
    return (
        SVI(model.model, model.guide),
        with_nan(),
        64,
        [r"step 1: KL of site 'z'", "index 7 in the training data", "column 2"],
    )


def learning_rate():
    model = Latent(lambda h: dist.Normal(h, 1.0), lambda h: dist.Normal(h, (3 * h).exp()))
    return (
        SVI(model.model, model.guide, partial(Adam, lr=100.0)),
        X,
        32,
        ["step 2: .* of site '[xz]'", "all 32 rows", "smaller learning rate"],
    )


def logarithm_of_zero():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(5))

        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Poisson(self.w.abs() * (x.sum(1, keepdim=True) != 10)).to_event(1), obs=x.round())

    x = X.round()
    x[11] = 2.0
    return (
        SVI(Counts().model),
        x,
        64,
        ["step 1: log_prob of site 'x' is -inf", "index 11 in the training data", "positive probability"],
    )


def scale_underflow():
    model = Regression(lambda s: (s - 120).exp())
    return (
        SVI(model.model),
        X,
        64,
        ["step 1: log_prob of site 'x' is", "its scale is 0", "all 64 rows", "bound the scale"],
    )


def infinite_kl():
    model = Latent(lambda h: dist.Uniform(h - 1, h + 1), lambda h: dist.Normal(h, 3.0))
    return SVI(model.model, model.guide, loss=BetaELBO()), X, 16, ["step 1: KL of site 'z'", "-?inf", "all 16 rows"]


def exploding_critic():
    networks = (
        nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 5)),
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)),
    )
    game = AdversarialGame(*networks, lambda n: torch.randn(n, 2), Wasserstein(), partial(SGD, lr=1e6))
    return (
        game,
        X,
        32,
        [r"step \d+: (critic_loss|generator_loss|the gradient of critic)", "all 32 rows", "penalty|learning rate"],
    )


def gradient_alone():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(5, 5)

        def losses(self, x):
            return {"loss": (self.net(x) * (x != 1)).square().sum(1).sqrt().mean()}

    x = X.clone()
    x[3] = 1.0
    return (
        GradientStep(Root().losses),
        x,
        64,
        [r"step 1: the gradient of model\.net\.\w+", "index 3 in the training data", "derivative of `sqrt`", "1e-6"],
    )


def enumerated():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.locs = nn.Parameter(torch.tensor([0.0, 1.0]))

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(torch.ones(2)))
                pyro.sample("x", dist.Normal(self.locs[k][..., None], 1.0).expand_by([]).to_event(1), obs=x)

    model = Mixture()
    return (
        SVI(config_enumerate(model.model), loss=TraceEnum_ELBO(max_plate_nesting=1)),
        with_nan(9),
        32,
        [r"step [12]: log_prob of site 'x' is nan", "index 9 in the training data"],
    )


def compiled_pair():
    model = Latent(lambda h: dist.Normal(h, 1.0), lambda h: dist.Normal(h, 0.1))

    def noisy(x):  # fails after the graph has been made
        return model.model(x)

    x = with_nan(40)
    return SVI(noisy, model.guide, compile=True), x, 4, [r"step \d+: KL of site 'z'", "index 40 in the training data"]


def half_precision():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(5, 5)

        def losses(self, x):
            with torch.autocast("cpu", torch.float16):
                return {"loss": self.net(x).square().mean()}

    x = X.clone()
    x[20] = 1e6
    return (
        GradientStep(Half().losses),
        x,
        64,
        ["step 1: loss is (nan|inf)", "index 20 in the training data", "float16: use float32 or bfloat16"],
    )


def histogram():
    x = with_nan(7)
    model = Histogram.from_data(X, 2)
    return ClosedForm(model, partial(Histogram.from_data, x, 2)), x, 64, ["step 1, closed-form fit", "row 8", "1 NaN"]


CASES = [
    nan_in_data,
    learning_rate,
    logarithm_of_zero,
    scale_underflow,
    infinite_kl,
    exploding_critic,
    gradient_alone,
    enumerated,
    compiled_pair,
    half_precision,
    histogram,
]


def run(case):
    """The step, its logs so far, and the error."""
    torch.manual_seed(0)
    step, x, batch_size, words = case()
    try:
        for _ in pyrogen.fit(step, x, steps=40, batch_size=batch_size):
            pass
    except pyrogen.errors.UserError as error:
        return step, error, words
    return step, None, words


if __name__ == "__main__":
    import re

    for case in CASES:
        step, error, words = run(case)
        print(
            case.__name__,
            "|",
            type(error).__name__,
            "|",
            error,
            "|",
            [w for w in words if not re.search(w, str(error))],
        )
