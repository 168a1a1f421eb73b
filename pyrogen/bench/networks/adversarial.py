"""Adversarial workloads: WGAN-GP and DCGAN, eager, compiled, and hand-written."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from pyrogen.bench.timing import CHUNK, Contender, synchronise
from pyrogen.implicit.dcgan import DCGAN
from pyrogen.implicit.wgan import WGAN
from pyrogen.objectives.adversarial import NonSaturating, Wasserstein
from pyrogen.objectives.penalties import GradientPenalty
from pyrogen.steps.adversarial import AdversarialGame

SHAPE = (1, 28, 28)


def adversarial_contenders(name: str, batch_size: int, device: torch.device) -> Iterator[Callable[[], Contender]]:
    """``dcgan``, or ``wgan-gp`` with one critic step for each of the generator's; on images of 28 × 28."""
    x = torch.rand(CHUNK, batch_size, *SHAPE, device=device)

    def new_network() -> Any:
        torch.manual_seed(0)
        return (DCGAN(SHAPE, 32, 32) if name == "dcgan" else WGAN(SHAPE, 64, (256, 256))).to(device)

    def pyrogen_contender(label: str, compile: bool) -> Contender:
        model = new_network()
        game = AdversarialGame(
            model.generator,
            model.critic,
            model.prior,
            NonSaturating() if name == "dcgan" else Wasserstein(),
            partial(Adam, lr=2e-4, fused=True),
            penalty=None if name == "dcgan" else GradientPenalty(),
            compile=compile,
        )
        return Contender(label, lambda t: game(x[t % CHUNK]), synchronise)

    def torch_contender(label: str, wrap: Callable[[Any], Any]) -> Contender:
        model = new_network()
        loss: Any = NonSaturating() if name == "dcgan" else Wasserstein()
        generator, critic = wrap(model.generator), wrap(model.critic)
        for_g, for_c = (Adam(m.parameters(), lr=2e-4, fused=True) for m in (model.generator, model.critic))

        def once(t: int) -> None:
            real = x[t % CHUNK]
            with torch.no_grad():
                fake = generator(model.prior(batch_size))
            value = loss.critic(critic(real), critic(fake))
            if name == "wgan-gp":
                value = value + _penalty(model.critic, real, fake)
            for_c.zero_grad()
            value.backward()
            for_c.step()
            for_g.zero_grad()
            loss.generator(critic(generator(model.prior(batch_size))), None).backward()
            for_g.step()

        return Contender(label, once, synchronise)

    yield partial(pyrogen_contender, "pyrogen compiled", True)
    yield partial(pyrogen_contender, "pyrogen eager", False)
    yield partial(torch_contender, "torch by hand, eager", lambda f: f)
    yield partial(torch_contender, "torch by hand, compiled", torch.compile)


def _penalty(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
    """The gradient penalty, with the uncompiled critic: torch.compile does not support second derivatives."""
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake, real, mix).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
