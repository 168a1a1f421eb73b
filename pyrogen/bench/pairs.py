"""What contenders share who train a Pyro pair: pyrogen's step, Pyro's own, and a loop by hand."""

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
from pyrogen.steps.svi import SVI, no_guide
from pyrogen.training.device import autocast

Maker = Callable[[], Contender]


@dataclass(frozen=True)
class Workload:
    """A workload: a Pyro pair and its data.

    Args:
        make: makes the network, which has ``model`` and, where something is latent, ``guide``.
        data: ``CHUNK`` batches of everything that a step is given, each ``(CHUNK, batch, …)``.
        by_hand: the loss written out in torch, ``by_hand(network, *batch)``.
    """

    make: Callable[[], Any]
    data: tuple[Tensor, ...]
    by_hand: Callable[..., Tensor]

    @property
    def device(self) -> torch.device:
        """Where the data lie."""
        return self.data[0].device

    def batch(self, t: int) -> tuple[Tensor, ...]:
        """What step ``t`` is given."""
        return tuple(part[t % CHUNK] for part in self.data)

    def fresh(self) -> Any:
        """An untrained network on the device, the same at each call."""
        torch.manual_seed(0)
        return self.make().to(self.device)

    def step(self, compile: bool) -> SVI:
        """Pyrogen's step on a fresh network."""
        network = self.fresh()
        guide = getattr(network, "guide", None)
        return SVI(network.model, guide, partial(Adam, lr=1e-3, fused=True), compile=compile)


def ours(pair: Workload, compile: bool, precision: str = "32") -> Contender:
    """Pyrogen's step, in ``precision`` (see ``autocast``)."""
    step = pair.step(compile)

    def once(t: int) -> None:
        with autocast(precision, pair.device):
            step(*pair.batch(t))

    name = f"pyrogen {'compiled' if compile else 'eager'}{', bf16' if precision == 'bf16' else ''}"
    return Contender(name, once, synchronise)


def stock(pair: Workload) -> Contender:
    """Pyro's own step."""
    step = pyro_step(pair.fresh())
    return Contender("Pyro SVI.step", lambda t: step(*pair.batch(t)), synchronise)


def hand(pair: Workload, name: str, wrap: Callable[[Any], Any]) -> Contender:
    """A plain loop over the loss written out, which ``wrap`` may compile."""
    network = pair.fresh()
    loss = wrap(lambda *batch: pair.by_hand(network, *batch))
    optimizer = Adam(network.parameters(), lr=1e-3, fused=True)

    def once(t: int) -> None:
        optimizer.zero_grad()
        loss(*pair.batch(t)).backward()
        optimizer.step()

    return Contender(name, once, synchronise)


def contenders(pair: Workload) -> Iterator[Maker]:
    """Makers of everybody who can train any pair; pyrogen compiled comes first."""
    yield partial(ours, pair, True)
    yield partial(ours, pair, False)
    yield partial(stock, pair)
    yield partial(hand, pair, "torch by hand, eager", lambda f: f)
    yield partial(hand, pair, "torch by hand, compiled", partial(torch.compile, fullgraph=True))


def pyro_step(network: Any) -> Callable[..., float]:
    """Pyro's SVI with a parameter store of its own: ``step(*batch) -> loss``."""
    store: dict[str, Any] = {"params": {}, "constraints": {}}
    guide = getattr(network, "guide", no_guide)
    svi = pyro.infer.SVI(network.model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    def step(*batch: Tensor) -> float:
        with pyro.get_param_store().scope(store):
            loss: float = svi.step(*batch)
            return loss

    return step
