"""What several processes train together: each case returns its losses, which are those of one process.

A process draws its own noise. Here, to compare runs number for number, every draw for the rows of a process is the part
of the draw for the whole batch that one process makes: see ``DrawsOfBatch``.
"""

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
import torch.distributed as group
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, config_enumerate
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ExponentialLR
from torch.overrides import TorchFunctionMode

from pyrogen import SVI, AdversarialGame, fit, ranks
from pyrogen.data import Split
from pyrogen.errors import UserError
from pyrogen.objectives import IWAE, MMD, BetaELBO, FeatureMatching, FreeBits, GradientPenalty, R1Penalty, Wasserstein
from pyrogen.objectives.elbo import Warmup
from pyrogen.steps import GradientStep
from pyrogen.training.config import configure
from pyrogen.training.run import Run
from pyrogen.training.trainer import build, train

ROWS, DIM, STEPS, PARTICLES = 40, 3, 6, 5


class DrawsOfBatch(TorchFunctionMode):
    """Makes of each draw for a process's rows, or several times as many, the part of the draw for the whole batch."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.normal_ and len(args) == 1:  # as torch's Normal draws
            return args[0].copy_(self._draw(torch.randn, args[0].shape))
        if func in (torch.rand, torch.randn):
            return self._draw(func, torch.zeros(*args).shape)
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _draw(draw, shape):
        mine = ranks.share()
        if mine and shape[:2] == (PARTICLES, mine.rows):
            return draw(PARTICLES, mine.total, *shape[2:])[:, ranks.part(mine.total)]
        times, rest = divmod(shape[0], mine.rows) if mine and shape else (0, 0)
        if rest or not times:
            return draw(shape)
        whole = draw(times * mine.total, *shape[1:])
        return whole.view(times, mine.total, *shape[1:])[:, ranks.part(mine.total)].reshape(shape)


class Coupled:
    """A step whose draws are seeded by its number alone."""

    def __init__(self, step):
        self.step, self.t = step, 0
        self.takes = getattr(step, "takes", None)

    def __call__(self, *batch):
        self.t += 1
        torch.manual_seed(self.t)
        with DrawsOfBatch():
            return self.step(*batch)

    def __getattr__(self, name):
        if name == "step":
            raise AttributeError(name)
        return getattr(self.step, name)


def rows(n=ROWS):
    own = torch.Generator().manual_seed(0)
    return torch.randn(n, DIM, generator=own) + 1, torch.randint(2, (n,), generator=own)


def losses(step, batch_size=8, data=None, steps=STEPS, coupled=True):
    data = Split(*rows()) if data is None else data
    step = Coupled(step) if coupled else step
    return [{n: float(v) for n, v in logs.items()} for _, logs in fit(step, data, steps=steps, batch_size=batch_size)]


def pair(plate, seed=0):
    """A pair with a global latent variable, and a local one in ``plate(x)``."""
    torch.manual_seed(seed)
    net = nn.Linear(DIM, 2)

    def model(x):
        scale = pyro.sample("scale", dist.Gamma(2.0, 1.0))
        with plate(x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[:, None], scale).expand([len(x), DIM]).to_event(1), obs=x)

    def guide(x):
        a = pyro.param("a", lambda: torch.tensor(0.3))
        pyro.sample("scale", dist.Delta(a.exp()))
        with plate(x):
            loc, log_scale = net(x).unbind(1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    return model, guide


def own_plate(x):
    return pyro.plate("data", len(x))


def subsampled(x):
    return pyro.plate("data", ROWS, subsample_size=len(x))


def svi(plate, loss=None, **options):
    return SVI(*pair(plate), partial(Adam, lr=0.05), loss or Trace_ELBO(), **options)


def enumerated(plate):
    weights = nn.Parameter(torch.zeros(2))
    means = nn.Parameter(torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]]))

    @config_enumerate
    def model(x):
        with plate(x):
            k = pyro.sample("k", dist.Categorical(logits=weights))
            pyro.sample("x", dist.Normal(means[k], 1.0).to_event(1), obs=x)

    return SVI(model, lambda x: None, partial(Adam, lr=0.05), TraceEnum_ELBO(max_plate_nesting=1))


class Amortised(nn.Module):
    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(1)

        def network(inputs, outputs):
            between = [nn.BatchNorm1d(8)] if norm else []
            return nn.Sequential(nn.Linear(inputs, 8), *between, nn.ReLU(), nn.Linear(8, outputs))

        self.encoder, self.decoder = network(DIM, 4), network(2, DIM)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).chunk(2, 1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def vae(loss, norm=False):
    """A VAE with clipped gradients and a schedule."""
    pair = Amortised(norm)
    return pair, SVI(
        pair.model, pair.guide, partial(Adam, lr=0.02), loss, clip_norm=1.0, schedule=partial(ExponentialLR, gamma=0.7)
    )


def batch_norm():
    model, step = vae(BetaELBO(), norm=True)
    found = losses(step, data=Split(rows()[0]))
    return [*found, {n: float(b.double().abs().sum()) for n, b in model.named_buffers()}]


class Critic(nn.Module):
    def __init__(self, norm=False):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(DIM, 6), *([nn.BatchNorm1d(6)] if norm else []), nn.Tanh())
        self.head = nn.Linear(6, 1)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.body(x)).squeeze(1)


def game(loss=None, norm=False, **options):
    torch.manual_seed(2)
    generator = nn.Sequential(nn.Linear(2, 6), *([nn.BatchNorm1d(6)] if norm else []), nn.Tanh(), nn.Linear(6, DIM))
    step = AdversarialGame(
        generator, Critic(norm), lambda n: torch.randn(n, 2), loss, partial(SGD, lr=0.05, momentum=0.5),
        schedule=partial(ExponentialLR, gamma=0.8), **options,
    )  # fmt: skip
    found = losses(step, data=Split(rows()[0]))
    return [{n: v for n, v in logs.items() if n != "std_ratio"} for logs in found]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Linear(DIM, 2)

    def losses(self, x, y):
        return {"loss": F.cross_entropy(self.net(x), y)}


def loader():
    data = torch.utils.data.TensorDataset(*rows(45))
    return losses(GradientStep(Classifier().losses), data=torch.utils.data.DataLoader(data, batch_size=8))


def recipe(name, folder, **options):
    """A whole run of the command line, with its schedules, averages, validation and logged rows."""
    config = configure(name, "digits", options={"steps": 6, "batch_size": 48, **options}, compile=False)
    setup = build(config)
    data = replace(setup.data, train=setup.data.train.freeze_noise(0))
    setup = replace(setup, step=Coupled(setup.step), data=data)
    run = Run.create(folder / name, config)
    trained = train(run, setup=setup, pictures=False)
    weights = {"weights": sum(float(w.double().abs().sum()) for w in trained.model.state_dict().values())}
    if ranks.world() > 1:
        group.barrier()  # the first process has written the last row
    left_out = ("seconds", "examples_per_second", "std_ratio")
    return [*({n: v for n, v in row.items() if n not in left_out} for row in run.metrics()), weights]


def compiled():
    return losses(SVI(*fixed_pair(), partial(Adam, lr=0.05), compile=True), coupled=False)


def fixed_pair():
    torch.manual_seed(0)
    net = nn.Linear(DIM, 1)

    def model(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal((z + mean)[:, None], 1.0).expand([len(x), DIM]).to_event(1), obs=x)

    def guide(x):
        pyro.sample("mean", dist.Delta(pyro.param("m", lambda: torch.tensor(0.2))))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(net(x).squeeze(1)))

    return model, guide


CASES = {
    "plate of the rows": lambda _: losses(svi(own_plate)),
    "plate of all data": lambda _: losses(svi(subsampled)),
    "uneven": lambda _: losses(svi(own_plate), 7),
    "uneven, plate of all data": lambda _: losses(svi(subsampled), 7),
    "enumerated": lambda _: losses(enumerated(own_plate)),
    "enumerated, plate of all data, uneven": lambda _: losses(enumerated(subsampled), 7),
    "particles of Pyro": lambda _: losses(svi(own_plate, Trace_ELBO(num_particles=2))),
    "particles": lambda _: losses(vae(BetaELBO(particles=3))[1], data=Split(rows()[0])),
    "IWAE, uneven": lambda _: losses(vae(IWAE(PARTICLES))[1], 7, data=Split(rows()[0])),
    "loss with gradients of its own": lambda _: losses(svi(own_plate, TraceGraph_ELBO())),
    "free bits": lambda _: losses(vae(FreeBits(0.3))[1], data=Split(rows()[0])),
    "warm-up": lambda _: losses(vae(BetaELBO(Warmup(4)))[1], data=Split(rows()[0])),
    "BatchNorm": lambda _: batch_norm(),
    "gradient penalty": lambda _: game(Wasserstein(), penalty=GradientPenalty()),
    "R1 and BatchNorm": lambda _: game(norm=True, penalty=R1Penalty(), critic_steps=2),
    "feature matching": lambda _: game(FeatureMatching()),
    "MMD of features": lambda _: game(MMD()),
    "gradient step, uneven": lambda _: losses(GradientStep(Classifier().losses), 7),
    "loader with a last batch of its own size": lambda _: loader(),
    "compiled": lambda _: compiled(),
    "vae": lambda folder: recipe("vae", folder),
    "wgan-gp": lambda folder: recipe("wgan-gp", folder),
    "dcgan": lambda folder: recipe("dcgan", folder),
}


def no_plate(fixed):
    def model(x):
        assert not fixed or len(x) == fixed
        pyro.sample("x", dist.Normal(pyro.param("m", lambda: torch.zeros(())), 1.0).expand(x.shape).to_event(2), obs=x)

    losses(SVI(model, lambda x: None))


class Counting(nn.Module):
    """Keeps a statistic of the rows that it sees."""

    def __init__(self):
        super().__init__()
        self.net, self.mean = nn.Linear(DIM, 2), nn.Buffer(torch.zeros(()))

    def losses(self, x, y):
        self.mean.lerp_(x.mean(), 0.5)
        return {"loss": F.cross_entropy(self.net(x), y)}


def not_finite():
    x = rows()[0]
    x[33, 1] = float("nan")
    with pyro.validation_enabled(False):
        losses(vae(BetaELBO())[1], data=Split(x), steps=100)


def too_few():
    losses(svi(own_plate), 1)


def of_other_shape():
    losses(GradientStep(nn.Linear(DIM, 1 + ranks.rank()).forward))


REFUSED = {
    "no plate": (lambda: no_plate(None), "put it into the data plate"),
    "no plate, of fixed rows": (lambda: no_plate(4), "the observed sites must be in a plate of the rows"),
    "no sum over data": (lambda: losses(svi(own_plate, RenyiELBO())), "RenyiELBO is no sum over the data"),
    "uneven BatchNorm": (lambda: losses(vae(BetaELBO(), norm=True)[1], 7), "a multiple of"),
    "statistics of its own": (lambda: losses(GradientStep(Counting().losses)), "mean is not the same in all processes"),
    "too few rows": (too_few, "a batch of 1 rows cannot be shared out"),
    "other shapes": (of_other_shape, "different parameters"),
    "not finite": (not_finite, "(index 33 in the training data)"),
}


class Drawing:
    """A step that notes what it draws."""

    def __init__(self):
        self.drawn = []

    def __call__(self, x):
        self.drawn.append(torch.rand(2))
        return {"loss": x.mean()}


def draws():
    step = Drawing()
    losses(step, data=Split(rows()[0]), coupled=False)
    own = torch.stack(step.drawn)
    every = [torch.zeros_like(own) for _ in range(ranks.world())]
    group.all_gather(every, own)
    return torch.stack(every).tolist()


def refusals():
    found = {}
    for name, (case, _) in REFUSED.items():
        try:
            case()
        except UserError as error:
            found[name] = str(error)
    return found


def together(rank, world, folder):
    """Compute all cases in one of ``world`` processes; the first writes them into ``folder``."""
    torch.set_default_dtype(torch.float64)
    if world > 1:
        group.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {"curves": {name: case(folder) for name, case in CASES.items()}}
    if world > 1:
        found |= {"refused": refusals() if world == 2 else {}, "draws": draws()}
        group.destroy_process_group()
    Path(folder, f"found-{rank}.json").write_text(json.dumps(found))


def dying(rank, world, folder):
    """Training in which the last process ends without a word; the others say so."""
    group.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    for t, _ in fit(GradientStep(Classifier().losses), Split(*rows()), steps=100, batch_size=8):
        if t == 3 and rank == world - 1:
            os._exit(1)
