"""A compiled step takes account of every change between two calls, or runs eagerly and logs the reason.

Most tests replace the code generator by one that runs the traced graph itself, which saves compilation and leaves the
choice of the graph unchanged. The last tests use the real compiler.
"""

import logging
import re
from contextlib import ExitStack

import pyro
import pytest
import stale_code  # noqa: F401 (its cases join the others)
import torch
from hosts import HOSTS, interpret
from stale_cases import CASES
from stale_networks import AROUND

from pyrogen.random import scoped_seed

X = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.5]])


@pytest.fixture
def quick(monkeypatch):
    """Run traced graphs without generating code."""
    monkeypatch.setattr("torch._inductor.compile", interpret)


def train(host, case, compile, change=True, lr=0.05, calls=3):
    """Return the losses of a step, with ``calls`` calls between two changes, and the reason for a fallback."""
    pyro.clear_param_store()
    steps = case()
    step, refused = HOSTS[host](next(steps), compile, lr)
    losses = []
    try:
        for _ in range(100):
            for _ in range(calls):
                with ExitStack() as around, scoped_seed(len(losses)):
                    for handler in AROUND:
                        around.enter_context(handler)
                    losses.append(step(X))
            if change and next(steps, "end") == "end":
                return losses, refused()
            if not change and len(losses) > 24:
                return losses, refused()
    finally:
        torch.set_default_dtype(torch.float32)
        AROUND.clear()
        pyro.clear_param_store()


def agree(host, case, **options):
    eager, _ = train(host, case, False, **options)
    compiled, refused = train(host, case, True, **options)
    assert compiled == pytest.approx(eager, rel=1e-4, abs=1e-5), (refused, compiled, eager)
    return eager, refused


HOOK = "'.*weight' has a hook on its gradient, which a graph would not call"
REFUSED = {"hook on a gradient": HOOK}
GRID = [(name, host) for name in CASES for host in HOSTS]
IN_CI = {(name, host) for i, name in enumerate(CASES) for host in ("SVI", list(HOSTS)[1 + i % 4])}


@pytest.mark.filterwarnings("ignore:.* was not registered in the param store")
@pytest.mark.parametrize(
    ("name", "host"),
    [pytest.param(name, host, marks=[] if (name, host) in IN_CI else pytest.mark.slow) for name, host in GRID],
)
def test_a_change_between_calls_is_followed(quick, name, host, caplog):
    with caplog.at_level(logging.WARNING, "pyrogen"):
        eager, refused = agree(host, CASES[name])
    assert (refused is not None) == (name in REFUSED), refused
    assert re.fullmatch(REFUSED.get(name, ""), refused or "")
    assert len(caplog.records) == (refused is not None) * (2 if host == "game" else 1)  # a line of each player
    if host == "SVI":
        unchanged, _ = train(host, CASES[name], False, change=False)
        assert eager != pytest.approx(unchanged[: len(eager)], rel=1e-6), "the change made no difference"
