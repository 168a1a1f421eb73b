"""Whether a device computes what the CPU computes, compiled or not, and goes on where a run was cut.

Each function raises ``AssertionError`` that names what differs. Random numbers are drawn on the CPU where two devices
are compared, so that both have the same ones.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyro.infer
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from pyrogen.bench.gpu.small import small
from pyrogen.bench.networks.vae import PyroVAE
from pyrogen.compile.elbo import CompiledTrace_ELBO
from pyrogen.data.loading import load
from pyrogen.data.step_arguments import select_arguments
from pyrogen.random import scoped_seed
from pyrogen.recipes import RECIPES, TrainingSetup
from pyrogen.training import checkpoint
from pyrogen.training.loop import fit

COMPILED = ("vae", "cvae", "maf", "wgan", "wgan-gp", "dcgan")
"""Recipes whose compiled step is compared with the eager one."""
RESUMED = ("vae", "wgan")
ROUNDED = ("vqvae", "vqvae2")
"""Recipes in which rounding decides ties between codes, so that only their losses are compared."""
BATCH = 16
Logs = dict[str, float]


class DrawOnCPU(TorchDispatchMode):
    """Draws random numbers on the CPU, so that every device has the same ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` on copies of its arguments on the CPU if it is random."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        given = next((a.device for a in args if isinstance(a, Tensor)), kwargs.get("device"))
        on_cpu = tree_map_only(Tensor, lambda t: t.cpu(), args)
        kwargs = {**kwargs, **{k: v for k, v in (("device", "cpu"), ("generator", None)) if k in kwargs}}
        drawn = func(*on_cpu, **kwargs)
        if func._schema.name.endswith("_"):
            return args[0].copy_(drawn)
        return tree_map_only(Tensor, lambda t: t.to(given or "cpu"), drawn)


def step_of_the_cpu(name: str, device: torch.device) -> None:
    """Two training steps of the recipe ``name``: the scalars to 10⁻³, the weights to 10⁻² or 10⁻³."""
    logs, weights = _two_steps(name, device)
    expected, expected_weights = _two_steps(name, torch.device("cpu"))
    _same(logs, expected, 1e-3)
    for key, weight in weights.items():
        if weight.is_floating_point() and name not in ROUNDED:
            torch.testing.assert_close(weight, expected_weights[key], rtol=1e-2, atol=1e-3, msg=f"{name}: {key}")


def compiled_and_eager(name: str, device: torch.device) -> None:
    """Ten steps; the scalars are read after all of them, when a graph has run again in the same memory."""
    setup, compiled = _run(name, device, True, 10)
    _, eager = _run(name, device, False, 10)
    _same(compiled, eager, 1e-2)
    refused = getattr(setup.step, "refused", None)
    _require(refused is None, f"{name} ran eagerly: {refused}")


def cut_and_resumed(name: str, compile: bool, device: torch.device) -> None:
    """Nine steps, and four with a checkpoint and five after it: scalars and weights are equal, bit for bit."""
    whole, logs = _run(name, device, compile, 9)
    first, before = _run(name, device, compile, 4)
    second = _setup(name, device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(folder, t=4, model=first.model, step=first.step)
        start = checkpoint.restore(folder, model=second.model, step=second.step)
    _, after = _run(name, device, compile, 9, second, start)
    _same([*before, *after], logs, 0.0)
    for key, weight in whole.model.state_dict().items():
        _require(torch.equal(weight, second.model.state_dict()[key]), f"{name}: {key} differs after a restart")


def gradients_add_up(device: torch.device) -> None:
    """The gradients of two batches, added by a compiled loss and by Pyro's, five times."""
    x = (torch.rand(2, BATCH, 784, device=device) < 0.2).float()
    found = []
    for loss in (CompiledTrace_ELBO(), pyro.infer.Trace_ELBO()):
        with scoped_seed(0):
            vae = PyroVAE(16, 4).to(device)
        for _ in range(5):  # the fifth sum is of graphs that have run before
            vae.zero_grad()
            for i, batch in enumerate(x):
                with scoped_seed(i):
                    loss.loss_and_grads(vae.model, vae.guide, batch)
        found.append([p.grad for p in vae.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


def checks(device: torch.device, names: Sequence[str] = ()) -> Iterator[tuple[str, Callable[[], None]]]:
    """All checks with their descriptions.

    Args:
        device: what is compared with the CPU.
        names: the recipes; all by default.
    """
    names = names or tuple(RECIPES)
    for name in names:
        yield f"{name}: a step is that of the CPU", partial(step_of_the_cpu, name, device)
    for name in (n for n in COMPILED if n in names):
        yield f"{name}: a compiled step is the eager one", partial(compiled_and_eager, name, device)
    for name in (n for n in RESUMED if n in names):
        for compile in (False, True):
            how = "compiled" if compile else "eager"
            yield f"{name}, {how}: a cut run is the uncut one", partial(cut_and_resumed, name, compile, device)
    yield "gradients of two batches add up", partial(gradients_add_up, device)


def _setup(name: str, device: torch.device) -> TrainingSetup:
    with scoped_seed(0):
        setup = RECIPES[name](load(RECIPES[name].example), **small(name))
    setup.model.to(device)
    return setup


def _two_steps(name: str, device: torch.device) -> tuple[list[Logs], dict[str, Tensor]]:
    """The scalars of two steps, and the weights after them on the CPU."""
    setup, logs = _setup(name, device), []
    parts = [part[: 2 * BATCH].split(BATCH) for part in setup.data.train.tensors()]
    for i, batch in enumerate(zip(*parts, strict=True)):
        arguments = [part.to(device) for part in select_arguments(setup.step, batch)]
        with scoped_seed(i), DrawOnCPU():  # type: ignore[no-untyped-call]
            logs.append(_floats(setup.step(*arguments)))
    return logs, {key: t.detach().cpu() for key, t in setup.model.state_dict().items()}


def _run(
    name: str, device: torch.device, compile: bool, steps: int, setup: TrainingSetup | None = None, start: int = 0
) -> tuple[TrainingSetup, list[Logs]]:
    setup = setup or _setup(name, device)
    step: Any = setup.step
    step.compile = compile
    rows = fit(step, setup.data.train.to(device), steps=steps, start=start, batch_size=BATCH)
    return setup, [_floats(row) for row in [row for _, row in rows]]


def _floats(logs: Mapping[str, Tensor]) -> Logs:
    return {key: float(value) for key, value in logs.items()}


def _same(found: Sequence[Logs], expected: Sequence[Logs], tolerance: float) -> None:
    for t, (one, two) in enumerate(zip(found, expected, strict=True), 1):
        for key, value in two.items():
            close = abs(one[key] - value) <= tolerance * max(abs(value), 1.0)
            _require(close, f"step {t}: {key} is {one[key]:.6g}, expected {value:.6g}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
