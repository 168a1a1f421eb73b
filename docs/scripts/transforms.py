"""The library's own maps and mixtures beside those of Pyro and torch: milliseconds, and the ratio theirs / ours.

    OMP_NUM_THREADS=1 python docs/scripts/transforms.py --rounds 30

Flows of two layers over 8 values, networks of (64, 64), batches of 256: one evaluation of the density with its
gradients, and 256 samples; eager and, with ``--compiled``, ours as the compiled loss of a step. Rounds are interleaved,
and the fastest of each is taken. Spline flows have 16 bins. Of Pyro's autoregressive maps the inverse is used, in which
the density takes one pass.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import pyro.distributions.transforms as T
import torch
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily

from pyrogen import SVI
from pyrogen.explicit import Flow, GaussianMixture, Spline, autoregressive, coupling

DIMS, BATCH, HIDDEN, BINS, LAYERS = 8, 256, (64, 64), 16, 2
Call = Callable[[], Any]


def pyros(name: str) -> tuple[Any, nn.ModuleList]:
    """Pyro's flow of the same form."""
    base = dist.Normal(torch.zeros(DIMS), torch.ones(DIMS)).to_event(1)
    maps: list[Any] = []
    parts = nn.ModuleList()
    for i in range(LAYERS):
        if i:
            maps.append(T.Permute(torch.arange(DIMS).flip(0)))
        if name == "affine autoregressive":
            part: Any = T.AffineAutoregressive(AutoRegressiveNN(DIMS, list(HIDDEN)))
        elif name == "spline autoregressive":
            network = AutoRegressiveNN(DIMS, list(HIDDEN), param_dims=[BINS, BINS, BINS - 1])
            part = T.SplineAutoregressive(DIMS, network, count_bins=BINS, bound=4.0, order="quadratic")
        elif name == "affine coupling":
            part = T.affine_coupling(DIMS, hidden_dims=list(HIDDEN))
        else:
            part = T.spline_coupling(DIMS, hidden_dims=list(HIDDEN), count_bins=BINS, bound=4.0)
        parts.append(part)
        maps.append(part.inv if "autoregressive" in name else part)
    return dist.TransformedDistribution(base, maps), parts


def ours(name: str) -> Flow:
    """The library's."""
    form = autoregressive if "autoregressive" in name else coupling
    return Flow((DIMS,), form((DIMS,), LAYERS, HIDDEN, Spline(BINS) if "spline" in name else None))


def gradient(log_prob: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor) -> Call:
    """One evaluation of the mean log-density and its gradients."""
    return lambda: torch.autograd.grad(log_prob(x).mean(), parameters)


def fastest(rounds: int, **calls: Call) -> dict[str, float]:
    """Milliseconds of each, round by round in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: min(values) for name, values in times.items()}


def flows(rounds: int, compiled: bool) -> None:
    """Print the rows of the flows."""
    for name in ("affine autoregressive", "affine coupling", "spline autoregressive", "spline coupling"):
        x = torch.randn(BATCH, DIMS)
        flow, (theirs, parts) = ours(name), pyros(name)
        step = SVI(flow.model, optim=lambda p: torch.optim.SGD(p, lr=0.0), compile=compiled)
        for _ in range(4):
            step(x)
        mine, its = list(flow.parameters()), list(parts.parameters())

        def log_prob(x: Tensor, theirs: Any = theirs) -> Tensor:
            theirs.clear_cache()
            value: Tensor = theirs.log_prob(x)
            return value

        found = fastest(
            rounds,
            ours=gradient(flow.log_prob, mine, x),
            step=lambda step=step, x=x: step(x),
            pyro=gradient(log_prob, its, x),
            our_sample=lambda flow=flow: flow.sample(BATCH),
            pyro_sample=lambda theirs=theirs: theirs.sample((BATCH,)),
        )
        print(
            f"{name:22} density and gradients: ours {found['ours']:.2f}, as a {'compiled' if compiled else 'plain'} "
            f"step {found['step']:.2f}, Pyro {found['pyro']:.2f} (x{found['pyro'] / found['ours']:.2f}); samples: ours "
            f"{found['our_sample']:.2f}, Pyro {found['pyro_sample']:.2f} "
            f"(x{found['pyro_sample'] / found['our_sample']:.2f})",
            flush=True,
        )


def mixtures(rounds: int) -> None:
    """Print the row of the mixture of Gaussians."""
    for covariance in ("diagonal", "full"):
        model, x = GaussianMixture((64,), 10, covariance), torch.randn(BATCH, 64)

        def log_prob(x: Tensor, model: GaussianMixture = model) -> Tensor:
            factor = torch.diag_embed(model.diagonal) if model.covariance == "diagonal" else model.factor
            each: Any = dist.MultivariateNormal(model.loc, scale_tril=factor)
            if model.covariance == "diagonal":
                each = dist.Normal(model.loc, model.diagonal).to_event(1)
            value: Tensor = MixtureSameFamily(Categorical(logits=model.logits), each).log_prob(x)
            return value

        parameters = list(model.parameters())
        found = fastest(rounds, ours=gradient(model.log_prob, parameters, x), torch=gradient(log_prob, parameters, x))
        print(f"mixture, {covariance:8} ours {found['ours']:.2f}, torch {found['torch']:.2f} "
              f"(x{found['torch'] / found['ours']:.2f})")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--compiled", action="store_true")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    mixtures(chosen.rounds)
    flows(chosen.rounds, chosen.compiled)
