"""Every kind of step, as ``make(seed)``: a new object whose initial weights follow from the seed."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from games import game
from pyro.distributions import constraints
from pyro.infer import RenyiELBO, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn
from torch.distributions import biject_to, transform_to
from torch.distributions.transforms import AffineTransform, ComposeTransform, ExpTransform
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from pyrogen import SVI
from pyrogen.objectives import BetaELBO, Warmup
from pyrogen.random import scoped_seed
from pyrogen.steps import ClosedForm, GradientStep
from pyrogen.steps.sequential import LatentAdversarialStep, SequentialSteps

ADAM = partial(Adam, lr=0.05)


class AboveTwo(constraints.Constraint):
    """A constraint of the user's own."""

    def check(self, value):
        return value > 2


@transform_to.register(AboveTwo)
@biject_to.register(AboveTwo)
def _above_two(constraint):
    return ComposeTransform([ExpTransform(), AffineTransform(2.0, 1.0)])


def normal(x, loc, scale=1.0):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Dropout(0.2))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    def forward(self, x):
        return {"loss": (self.decoder(self.encoder(x)[:, :1]) - x).square().mean(), "norm": x.norm()}


def networks(**options):
    net = Net()
    return SVI(net.model, net.guide, **{"optim": ADAM, **options})


def listed():
    nets = [Net()]
    return SVI(lambda x: nets[0].model(x), lambda x: nets[0].guide(x), ADAM)


def module_sites():
    net = Net()

    def model(x):
        pyro.module("net", net)
        net.model(x)

    return SVI(model, net.guide, ADAM)


def made_in_the_program():
    """Nothing outside the program holds its network."""

    def model(x):
        layer = pyro.module("layer", nn.Linear(2, 2), update_module_params=True)
        normal(x, layer(torch.ones(2)) + pyro.param("start", lambda: torch.randn(2)))

    return SVI(model, optim=ADAM)


def sites(**options):
    class BelowZero(constraints.Constraint):
        """No name leads to it."""

        def check(self, value):
            return value < 0

    @transform_to.register(BelowZero)
    def below_zero(constraint):
        return ComposeTransform([ExpTransform(), AffineTransform(0.0, -1.0)])

    def model(x):
        p = pyro.param
        scale = p("scale", torch.ones(2), constraint=constraints.positive)
        weights = p("weights", torch.ones(3) / 3, constraint=constraints.simplex)
        low = p("low", torch.zeros(2), constraint=constraints.interval(-1.0, torch.tensor([1.0, 2.0])))
        tril = p("tril", torch.eye(2), constraint=constraints.lower_cholesky)
        above = p("above", lambda: 3 + torch.rand(()), constraint=AboveTwo())
        below = p("below", torch.tensor(-1.0), constraint=BelowZero())
        stacked = p("stacked", torch.ones(2), constraint=constraints.independent(constraints.greater_than(0.5), 1))
        loc = p("loc", lambda: torch.randn(2)) + weights @ torch.ones(3, 2) + low + tril.sum(1) + stacked + below
        normal(x, loc, scale * above)

    return SVI(model, **{"optim": ADAM, **options})


def guided(guide):
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        normal(x, loc, pyro.sample("scale", dist.LogNormal(0.0, 1.0)))

    return SVI(model, guide(model), ADAM)


def parts(model):
    guide = AutoGuideList(model)
    guide.append(AutoNormal(pyro.poutine.block(model, expose=["loc"])))
    guide.append(AutoDelta(pyro.poutine.block(model, expose=["scale"])))
    return guide


class Bayes(PyroModule):
    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](1, 2)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([2, 1]).to_event(2))
        self.scale = PyroParam(torch.rand(2) + 1, constraint=constraints.positive)

    def forward(self, x):
        normal(x, self.linear(torch.ones(1)), self.scale)


def bayes():
    model = Bayes()
    return SVI(model, AutoNormal(model), ADAM)


def late():
    """One parameter appears after the third step."""
    counter = nn.BatchNorm1d(1)

    def model(x):
        loc = pyro.param("loc", lambda: torch.randn(2))
        if torch.is_grad_enabled():
            counter.num_batches_tracked.add_(1)
        if counter.num_batches_tracked > 3:
            loc = loc + pyro.param("late", torch.ones(2), constraint=constraints.positive)
        normal(x, loc)

    return SVI(model, optim=ADAM)


def mixture():
    @config_enumerate
    def model(x):
        weights = pyro.param("weights", lambda: dist.Dirichlet(torch.ones(2)).sample(), constraint=constraints.simplex)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample(
                "x", dist.Normal(torch.tensor([-1.0, 1.0])[k][..., None], 1.0).expand_by([]).to_event(1), obs=x[:, :1]
            )

    return SVI(model, optim=ADAM, loss=TraceEnum_ELBO(max_plate_nesting=1))


def by_name(name):
    return {"lr": 0.1 if name == "scale" else 0.01, "betas": (0.9, 0.95)}


class Gaussian(nn.Module):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.randn(2))

    def log_prob(self, x):
        return dist.Normal(self.loc, 1.0).to_event(1).log_prob(x)


def closed_form():
    fitted = Gaussian()
    fitted.loc.data = torch.tensor([1.0, 2.0])
    return ClosedForm(Gaussian(), lambda: fitted)


def in_turn():
    net = Net()
    return SequentialSteps(one=SVI(net.model, net.guide, ADAM), two=GradientStep(net, SGD_), three=code_game())


def code_game():
    critic = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    return LatentAdversarialStep(nn.Linear(2, 1), critic, lambda n: torch.randn(n, 1), noise=lambda t: 0.1 / (t + 1))


SGD_ = partial(SGD, lr=0.05, momentum=0.9)
SLOWER = partial(StepLR, step_size=2, gamma=0.5)
STEPS = {
    "networks": networks,
    "clipping and a schedule": lambda: networks(clip_norm=0.5, schedule=SLOWER, optim=SGD_),
    "a network in a list": listed,
    "module sites": module_sites,
    "a network made in the program": made_in_the_program,
    "constrained sites": sites,
    "AutoNormal": partial(guided, AutoNormal),
    "AutoMultivariateNormal": partial(guided, AutoMultivariateNormal),
    "AutoGuideList": partial(guided, parts),
    "a Bayesian layer": bayes,
    "a site that comes late": late,
    "an enumerated mixture": mixture,
    "Pyro's optimiser": lambda: networks(optim=pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.9})),
    "rates by name": lambda: sites(optim=pyro.optim.Adam(by_name)),
    "Pyro's optimiser with a schedule": lambda: sites(optim=pyro.optim.Adam({"lr": 0.1}), schedule=SLOWER),
    "warm-up": lambda: networks(loss=BetaELBO(Warmup(5))),
    "a loss with its own gradients": lambda: networks(loss=RenyiELBO(alpha=0.5, num_particles=2)),
    "game": lambda: game(int(torch.randint(1000, ())), critic_steps=2, noise=lambda t: 1 / (t + 1), schedule=SLOWER),
    "descent": lambda: GradientStep(Net(), ADAM, schedule=SLOWER),
    "closed form": closed_form,
    "in turn": in_turn,
    "code game": code_game,
}


def make(name, seed):
    with scoped_seed(seed):
        return STEPS[name]()
