"""Implementations that train a Pyro pair: pyrogen's step, Pyro's own SVI, and a hand-written loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.optim import Adam

from pyrogen.bench.timing import CHUNK, Contender, synchronise
from pyrogen.steps import exclusive
from pyrogen.steps.svi import SVI, no_guide
from pyrogen.training.device import autocast

ContenderMaker = Callable[[], Contender]


@dataclass(frozen=True)
class Workload:
    """A workload: a Pyro pair and its data.

    Args:
        make: creates the network, which has ``model`` and, with latent variables, ``guide``.
        data: ``CHUNK`` batches of every argument of a step, each ``(CHUNK, batch, …)``.
        by_hand: the loss written in torch, ``by_hand(network, *batch)``.
    """

    make: Callable[[], Any]
    data: tuple[Tensor, ...]
    by_hand: Callable[..., Tensor]

    @property
    def device(self) -> torch.device:
        """The device of the data."""
        return self.data[0].device

    def batch(self, t: int) -> tuple[Tensor, ...]:
        """Return the batch of step ``t``."""
        return tuple(part[t % CHUNK] for part in self.data)

    def new_network(self) -> Any:
        """Return an untrained network on the device, the same at each call."""
        torch.manual_seed(0)
        return self.make().to(self.device)

    def step(self, compile: bool) -> SVI:
        """Return pyrogen's step on a new network."""
        network = self.new_network()
        guide = getattr(network, "guide", None)
        return SVI(network.model, guide, partial(Adam, lr=1e-3, fused=True), compile=compile)


def pyrogen_contender(pair: Workload, compile: bool, precision: str = "32") -> Contender:
    """Return pyrogen's step, in ``precision`` (see ``autocast``)."""
    step = pair.step(compile)

    def once(t: int) -> None:
        with autocast(precision, pair.device):
            step(*pair.batch(t))

    name = f"pyrogen {'compiled' if compile else 'eager'}{', bf16' if precision == 'bf16' else ''}"
    return Contender(name, once, synchronise)


def loop_contender(pair: Workload) -> Contender:
    """Return pyrogen's step in a loop of ``CHUNK`` steps between which nothing else runs."""
    step = pair.step(True)

    def once(t: int) -> None:
        if t % CHUNK == 0:
            with exclusive(step):
                for i in range(CHUNK):
                    step(*pair.batch(i))

    return Contender("pyrogen compiled, loop", once, synchronise)


def pyro_contender(pair: Workload) -> Contender:
    """Return Pyro's own step."""
    step = pyro_step(pair.new_network())
    return Contender("Pyro SVI.step", lambda t: step(*pair.batch(t)), synchronise)


def torch_contender(pair: Workload, name: str, wrap: Callable[[Any], Any]) -> Contender:
    """Return a plain loop over the hand-written loss, which ``wrap`` may compile."""
    network = pair.new_network()
    loss = wrap(lambda *batch: pair.by_hand(network, *batch))
    optimizer = Adam(network.parameters(), lr=1e-3, fused=True)

    def once(t: int) -> None:
        optimizer.zero_grad()
        loss(*pair.batch(t)).backward()
        optimizer.step()

    return Contender(name, once, synchronise)


def contenders(pair: Workload) -> Iterator[ContenderMaker]:
    """Yield makers of the implementations that can train any pair, beginning with pyrogen compiled."""
    yield partial(pyrogen_contender, pair, True)
    yield partial(pyrogen_contender, pair, False)
    yield partial(pyro_contender, pair)
    yield partial(torch_contender, pair, "torch by hand, eager", lambda f: f)
    yield partial(torch_contender, pair, "torch by hand, compiled", partial(torch.compile, fullgraph=True))


def pyro_step(network: Any) -> Callable[..., float]:
    """Return Pyro's SVI with its own parameter store: ``step(*batch) -> loss``."""
    store: dict[str, Any] = {"params": {}, "constraints": {}}
    guide = getattr(network, "guide", no_guide)
    svi = pyro.infer.SVI(network.model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    def step(*batch: Tensor) -> float:
        with pyro.get_param_store().scope(store):
            loss: float = svi.step(*batch)
            return loss

    return step
