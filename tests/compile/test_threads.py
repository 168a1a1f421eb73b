"""Tracing in one thread does not affect another thread: no function of torch or Pyro is patched globally."""

import ast
import threading
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from hosts import interpret
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch.distributions import Beta, Categorical, Distribution, Normal, constraints
from torch.optim import Adam

import pyrogen
from pyrogen import SVI

TRACES = 4
BY_TORCH = {(repr(torch.nn.Module), "__call__"), (repr(torch.nn.Module), "__getattr__")}
"""Functions that ``make_fx`` itself patches while it runs."""


@config_enumerate
def model(x):
    weights = pyro.param("weights", torch.ones(2) / 2, constraint=constraints.simplex)
    loc = pyro.param("loc", torch.tensor([-1.0, 1.0]))
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(loc[k], scale), obs=x)


def trace_one():
    """Create a new step, trace it and run its graph."""
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    step = SVI(model, optim=partial(Adam, lr=0.01), loss=loss, compile=True)
    for _ in range(2):
        step(torch.randn(16))
    assert step.refused is None


def compute():
    """Run torch and Pyro functions whose results are known."""
    x = torch.arange(6.0)
    assert x.sum().item() == 15.0
    assert type(x.sum().item()) is float
    assert bool((x > 4).any())
    assert not bool(torch.zeros(()))
    assert x.masked_select(x > 3).tolist() == [4.0, 5.0]
    assert float(Normal(0.0, 1.0).log_prob(torch.zeros(()))) == pytest.approx(-0.9189385)
    with pytest.raises(ValueError, match="parameter scale"):
        Normal(0.0, -torch.ones(2))
    with pytest.raises(ValueError, match="parameter probs"):
        Categorical(probs=torch.tensor([0.5, -0.5, 1.0]))
    with pytest.raises(ValueError, match="within the support"):
        Beta(torch.ones(2), torch.ones(2)).log_prob(torch.tensor([0.5, 2.0]))
    net = torch.nn.Linear(2, 1)
    assert torch.equal(net(x[:2]), torch.nn.functional.linear(x[:2], net.weight, net.bias))
    weight = torch.ones(2, requires_grad=True)
    hooked = []
    weight.register_hook(hooked.append)
    (weight * 3).sum().backward()
    assert hooked[0].tolist() == [3.0, 3.0]
    assert weight.grad.tolist() == [3.0, 3.0]


def attributes():
    """Return the attributes of classes and modules that a tracer could patch."""
    owners = [torch.Tensor, torch._C.TensorBase, torch._C, torch, Distribution, Normal, Categorical, constraints]
    owners += [torch.autograd, torch.nn.functional, pyro, pyro.distributions.Normal, pyro.infer.util, pyro.util]
    owners += [pyro.distributions.util, pyro.poutine.runtime, torch.nn.Module, torch.Generator, constraints.Constraint]
    changing = ("__dict__", "__doc__", "__warningregistry__", "__annotations__", "_NUM_SAMPLES")
    return {(repr(o), n): id(v) for o in owners for n, v in list(vars(o).items()) if n not in changing}


class Beside:
    """Call functions repeatedly in a second thread inside a ``with`` block; raise their exceptions at its end."""

    def __init__(self, *functions):
        self.functions, self.errors, self.rounds = functions, [], 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done.is_set():
            try:
                for function in self.functions:
                    function()
            except BaseException as error:
                self.errors.append(error)
                return
            self.rounds += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        if self.errors:
            raise self.errors[0]


def test_tracing_does_not_affect_a_second_thread(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    compute()
    with Beside(compute) as beside:
        for _ in range(TRACES):
            trace_one()
    assert beside.rounds > 1


def test_no_function_of_torch_or_pyro_is_patched(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    trace_one()  # what is imported at the first trace is there
    before = attributes()
    seen = []

    def look():
        now = attributes()
        seen.append({name for name in before.keys() | now.keys() if before.get(name) != now.get(name)})

    with Beside(look) as beside:
        for _ in range(TRACES):
            trace_one()
    assert beside.rounds > 1
    look()
    assert set().union(*seen) <= BY_TORCH
    assert attributes() == before


def test_compiling_does_not_affect_a_second_thread():
    """With the real compiler."""
    with Beside(compute) as beside:
        trace_one()
    assert beside.rounds > 1


def test_a_third_thread_may_trace_as_well(monkeypatch):
    """Pyro's handler stack is shared by all threads, but ``GradientStep`` does not use it."""
    monkeypatch.setattr("torch._inductor.compile", interpret)

    def descend():
        net = torch.nn.Linear(2, 1)
        step = pyrogen.steps.GradientStep(Squares(net), partial(Adam, lr=0.01), compile=True)
        for _ in range(3):
            step(torch.ones(3, 2))
        assert step._verified.refused is None

    with Beside(descend) as beside:
        for _ in range(TRACES):
            descend()
    assert beside.rounds > 1


class Squares(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return {"loss": self.net(x).square().mean()}


def test_no_production_code_mocks():
    root = Path(pyrogen.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not any(name.startswith("unittest") for name in names), path
