"""On a GPU a step computes what it computes on the CPU, compiled or not, and goes on where it was cut.

pytest -m cuda                                     # about 2 minutes on one card
PYROGEN_TEST_DEVICE=cpu pytest -m cuda             # the same checks where there is no card
"""

import os

import pyro.infer
import pytest
import torch
from recipe_cases import small, suited
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import pyrogen
from pyrogen.bench.networks.vae import PyroVAE
from pyrogen.compile import CompiledTrace_ELBO
from pyrogen.data.step_arguments import select_arguments
from pyrogen.random import scoped_seed
from pyrogen.recipes import RECIPES

DEVICE = torch.device(os.environ.get("PYROGEN_TEST_DEVICE", "cuda"))
ROUNDED = {"vqvae", "vqvae2"}
"""Models in which rounding decides ties between codes."""
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="needs a GPU"),
]


class DrawOnCPU(TorchDispatchMode):
    """Draw random numbers on the CPU, so that every device has the same ones."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        target = next(
            (a.device for a in args if isinstance(a, torch.Tensor)), kwargs.get("device") or torch.device("cpu")
        )
        on_cpu = tree_map_only(torch.Tensor, lambda t: t.cpu(), args)
        kwargs = {
            k: torch.device("cpu") if k == "device" else None if k == "generator" else v for k, v in kwargs.items()
        }
        drawn = func(*on_cpu, **kwargs)
        if func._schema.name.endswith("_"):
            return args[0].copy_(drawn)
        return tree_map_only(torch.Tensor, lambda t: t.to(target), drawn)


def build(name, device):
    with scoped_seed(0):
        setup = RECIPES[name](suited(name), **small(name))
    setup.model.to(device)
    return setup


def batches(setup, n, size=16):
    parts = [part[: n * size] for part in setup.data.train.tensors()]
    for i in range(n):
        yield select_arguments(setup.step, tuple(part[i * size : (i + 1) * size] for part in parts))


def train(setup, device, n):
    logs = []
    for i, batch in enumerate(batches(setup, n)):
        with scoped_seed(i), DrawOnCPU():
            logs.append({k: float(v) for k, v in setup.step(*(part.to(device) for part in batch)).items()})
    return logs, {name: t.detach().cpu() for name, t in setup.model.state_dict().items()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_is_that_of_the_cpu(name):
    logs, weights = train(build(name, DEVICE), DEVICE, 2)
    expected, expected_weights = train(build(name, "cpu"), "cpu", 2)
    for one, two in zip(logs, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-3)
    for key, weight in weights.items():
        if weight.is_floating_point() and name not in ROUNDED:
            torch.testing.assert_close(weight, expected_weights[key], rtol=1e-2, atol=1e-3, msg=f"{name}: {key}")


def run(name, compile, steps, setup=None, start=0):
    setup = setup or build(name, DEVICE)
    setup.step.compile = compile
    rows = pyrogen.fit(setup.step, setup.data.train.to(DEVICE), steps=steps, start=start, batch_size=16)
    return setup, [logs for _, logs in rows]


@pytest.mark.parametrize("name", ["vae", "cvae", "maf", "wgan-gp", "dcgan"])
def test_a_compiled_step_is_the_eager_one_and_its_logs_are_kept(name):
    setup, compiled = run(name, True, 10)
    _, eager = run(name, False, 10)
    for one, two in zip(compiled, eager, strict=True):  # read after all ten steps: a graph must not overwrite them
        assert {k: float(v) for k, v in one.items()} == pytest.approx(
            {k: float(v) for k, v in two.items()}, rel=1e-2, abs=1e-2
        )
    assert getattr(setup.step, "refused", None) is None


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("name", ["vae", "wgan"])
def test_a_cut_run_is_the_uncut_one(name, compile, tmp_path):
    whole, logs = run(name, compile, 9)
    first, before = run(name, compile, 4)
    pyrogen.save(tmp_path, t=4, model=first.model, step=first.step)
    second = build(name, DEVICE)
    start = pyrogen.restore(tmp_path, model=second.model, step=second.step)
    _, after = run(name, compile, 9, second, start)
    assert [{k: float(v) for k, v in row.items()} for row in before + after] == [
        {k: float(v) for k, v in row.items()} for row in logs
    ]
    for one, two in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_gradients_of_two_batches_add_up():
    x = (torch.rand(2, 16, 784, device=DEVICE) < 0.2).float()
    found = []
    for loss in (CompiledTrace_ELBO(), pyro.infer.Trace_ELBO()):
        torch.manual_seed(0)
        vae = PyroVAE(16, 4).to(DEVICE)
        for _ in range(5):  # the fifth sum is of graphs that have run before
            vae.zero_grad()
            for i, batch in enumerate(x):
                with scoped_seed(i):
                    loss.loss_and_grads(vae.model, vae.guide, batch)
        found.append([p.grad.clone() for p in vae.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
