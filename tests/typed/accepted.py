"""What a user may write: read by type checkers alone (``tests/check_types.py``), never run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import torch
from torch import Tensor, nn
from torch.optim import Adam

import pyrogen

run = Path("runs/mine")
data = pyrogen.load("digits")
assert_type(data, pyrogen.data.Dataset)
assert_type(data.train, pyrogen.data.Split)


class Pictures(nn.Module):
    """Names of its own for every parameter, and no labels."""

    def model(self, pictures: Tensor) -> None: ...

    def guide(self, pictures: Tensor) -> None: ...

    def sample(self, count: int, labels: Tensor | None = None) -> Tensor:
        return torch.zeros(count, 1, 8, 8)

    def log_prob(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.zeros(len(pictures))


class Game(nn.Module):
    """An implicit model."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(8, 64)
        self.critic = nn.Linear(64, 1)

    def prior(self, count: int) -> Tensor:
        return torch.randn(count, 8)

    def sample(self, count: int, labels: Tensor | None = None) -> Tensor:
        drawn: Tensor = self.generator(self.prior(count))
        return drawn


class Counter:
    """A step that inherits nothing, and calls its batch and its state as it likes."""

    def __call__(self, pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": pictures.mean()}

    def evaluate(self, pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": pictures.mean()}

    def state_dict(self) -> dict[str, int]:
        return {"count": 1}

    def load_state_dict(self, saved: dict[str, int]) -> None: ...


class Relativistic:
    """An adversarial loss of one's own."""

    def critic(self, data_scores: Tensor, sample_scores: Tensor) -> Tensor:
        return (sample_scores - data_scores).exp().mean()

    def generator(self, sample_scores: Tensor, data_scores: Tensor) -> Tensor:
        return (data_scores - sample_scores).exp().mean()


pictures, game, counter = Pictures(), Game(), Counter()
plain = nn.Linear(2, 2)
svi = pyrogen.SVI(pictures.model, pictures.guide, optim=partial(Adam, lr=1e-3))
adversarial = pyrogen.AdversarialGame(game.generator, game.critic, game.prior, Relativistic(), optim=Adam)
both = pyrogen.steps.SequentialSteps(first=svi, second=counter, third=adversarial)
stop = pyrogen.EarlyStopping(patience=3)
average = pyrogen.training.ExponentialMovingAverage(game, 0.999)
assert_type(average.module, Game)

for t, logs in pyrogen.fit(svi, data.train, steps=10):
    assert_type(t, int)
    assert_type(logs, Mapping[str, Tensor])
    pyrogen.save(run, model=pictures, step=svi, t=t)
for t, _ in pyrogen.fit(adversarial, data.train, steps=10):
    pyrogen.save(str(run), t=t, model=game, step=adversarial, average=average, plain=plain, stop=stop)
for t, _ in pyrogen.fit(counter, (torch.zeros(8, 2), torch.zeros(8)), steps=10):
    pyrogen.save(run, t=t, step=counter, optimizer=Adam(plain.parameters()))
for _ in pyrogen.fit(both, data.train, steps=10):
    pass
for _ in pyrogen.fit(lambda x, y: svi(x), data.train, steps=10):
    pass
parts: dict[str, pyrogen.Stateful] = {"model": pictures, "step": svi, "stop": stop}
pyrogen.save(run, t=1, **parts)
assert_type(pyrogen.restore(run, **parts), int)

steps: list[pyrogen.Step] = [svi, adversarial, counter, both]
samplers: list[pyrogen.Sampler] = [pictures, game, svi, average.module]
densities: list[pyrogen.Density] = [pictures, pyrogen.explicit.Gaussian(data.shape)]
pairs: list[pyrogen.Pair] = [pictures, svi, pyrogen.explicit.VAE(data.shape, 8)]
implicit: list[pyrogen.Implicit] = [game, pyrogen.implicit.GAN(data.shape, 8)]
for model in (pictures, game, svi, plain):
    assert_type(pyrogen.evaluate(model, data), dict[str, pyrogen.Score])
assert_type(pyrogen.evaluate(pictures, data.test)["log_likelihood"].value, float)
card: dict[str, Any] = pyrogen.compare(["gaussian"], "digits", own={"pictures": svi, "game": game}, steps=2)
