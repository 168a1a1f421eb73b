"""A pytest plugin: Pyro's tests meet pyrogen's classes in place of Pyro's, and every outcome is written down.

Used by ``pyro_suite.py``, which sets ``PYROGEN_JUDGE`` (what to replace) and ``PYROGEN_JUDGE_OUT`` (where to write).
A test module sees the replaced names while it is imported, whichever module of Pyro it takes them from; Pyro's own
modules go on seeing their own classes.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyro.infer
import pytest
import torch
from pyro.infer import ELBO

import pyrogen
from pyrogen.compile import CompiledELBO

MODE = os.environ["PYROGEN_JUDGE"]
OUT = os.environ["PYROGEN_JUDGE_OUT"]
CODE = os.environ.get("PYROGEN_JUDGE_CODE", "inductor")
LEFT_OUT = set(json.loads(os.environ.get("PYROGEN_JUDGE_LEFT_OUT", "[]")))
STOCK_SVI = pyro.infer.SVI
CALLS = {"graph": 0, "eager": 0}
"""How many losses the present test took from a graph, and how many eagerly."""
REFUSED: set[str] = set()
"""Why, in the present test."""


def compiled_class(stock: type) -> type:
    """``CompiledELBO`` of a loss of Pyro's, made with that loss's arguments and known by its name.

    The first call of a model and guide is rehearsed under the same random state, so that already the first loss that a
    test asks for comes from a graph: many tests ask only once.
    """

    class Compiled(CompiledELBO):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(stock(*args, **kwargs))
            self._rehearsed: set[Any] = set()

        def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
            pair = tuple((getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide))
            if pair not in self._rehearsed and self.refused is None:
                self._rehearsed.add(pair)
                with (
                    torch.random.fork_rng(devices=[]),
                    suppress(NotImplementedError),
                ):  # some have no loss without gradients
                    self.eager.loss(model, guide, *args, **kwargs)
                    super().gradients(model, guide, args, kwargs)
            return super().loss_and_grads(model, guide, *args, **kwargs)

        def gradients(self, *args: Any, **kwargs: Any) -> Any:
            found = super().gradients(*args, **kwargs)
            note(found, self)
            return found

    Compiled.__name__ = Compiled.__qualname__ = stock.__name__
    return Compiled


def note(found: Any, loss: CompiledELBO) -> None:
    """Count whether a loss came from a graph, and remember why it did not."""
    CALLS["eager" if found is None else "graph"] += 1
    if found is None and loss.refused:
        REFUSED.add(loss.refused)


class JudgedSVI(pyrogen.SVI):
    """``pyrogen.SVI`` on the global parameter store, as Pyro's tests read it, and with the loss where Pyro has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {name: value for name, value in kwargs.items() if name not in ("num_samples", "num_steps")}
        super().__init__(*args, **kwargs, compile=MODE == "svi-compiled", store="global")
        self.loss_and_grads = getattr(self.loss, "loss_and_grads", self._differentiated)
        compiled = self._update.compiled
        gradients = compiled.gradients

        def noted(*args: Any, **kwargs: Any) -> Any:
            found = gradients(*args, **kwargs)
            note(found, compiled)
            return found

        compiled.gradients = noted  # type: ignore[method-assign]

    def _differentiated(self, *args: Any, **kwargs: Any) -> Any:
        loss = self.loss.differentiable_loss(*args, **kwargs)
        loss.backward()
        return loss


JudgedSVI.__name__ = JudgedSVI.__qualname__ = "SVI"


def replacements() -> dict[type, type]:
    """What stands for which class of Pyro's in the present mode."""
    if MODE.startswith("svi"):
        return {STOCK_SVI: JudgedSVI}
    if MODE == "compiled":
        public = [getattr(pyro.infer, name) for name in pyro.infer.__all__]
        losses = [c for c in public if inspect.isclass(c) and issubclass(c, ELBO) and c is not ELBO]
        return {loss: compiled_class(loss) for loss in losses}
    return {}


REPLACED = replacements()


@contextmanager
def replaced_everywhere() -> Iterator[None]:
    """Every module of Pyro's shows ours where its own classes stand."""
    changed = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "pyro":
            for key, value in list(vars(module).items()):
                if inspect.isclass(value) and value in REPLACED:
                    changed.append((module, key, value))
                    setattr(module, key, REPLACED[value])
    yield
    for module, key, value in changed:
        if module is not pyro.infer:  # tests read ``pyro.infer.X`` when they run
            setattr(module, key, value)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A test module is imported here."""
    if isinstance(collector, pytest.Module):
        with replaced_everywhere():
            report = yield
        return report
    return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was asked to be left out."""
    gone = [item for item in items if item.nodeid in LEFT_OUT]
    if gone:
        items[:] = [item for item in items if item.nodeid not in LEFT_OUT]
        config.hook.pytest_deselected(items=gone)


def pytest_configure() -> None:
    """Leave out the generation of code, if asked: the traced graph runs node by node."""
    if CODE == "nodes":
        torch._inductor.compile = by_nodes  # type: ignore[assignment]


def by_nodes(traced: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
    """The graph as it was traced."""
    return traced


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count anew for each test."""
    CALLS.update(graph=0, eager=0)
    REFUSED.clear()


REPORTS: dict[str, dict[str, Any]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Join the phases of a test into one line of the file."""
    row = REPORTS.setdefault(report.nodeid, {"test": report.nodeid, "outcome": "passed", "seconds": 0.0})
    row["seconds"] = round(row["seconds"] + report.duration, 3)
    if report.outcome != "passed" and row["outcome"] == "passed":
        row["outcome"] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        crash = getattr(report.longrepr, "reprcrash", None)
        row["why"] = crash.message[:2000] if crash else str(report.longrepr)[-2000:]
        if report.failed:
            row["traceback"] = report.longreprtext[-6000:]
    if report.when == "teardown":
        row |= {**CALLS, "refused": sorted(REFUSED)}
        with open(OUT, "a") as file:
            file.write(json.dumps(row) + "\n")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported counts as one failure."""
    if report.failed:
        row = {"test": report.nodeid, "outcome": "failed", "seconds": 0.0, "why": str(report.longrepr)[-2000:]}
        with open(OUT, "a") as file:
            file.write(json.dumps(row) + "\n")


def pytest_sessionstart() -> None:
    """Say what runs: the versions, and where Pyro lies."""
    row = {"python": sys.version.split()[0], "torch": torch.__version__, "pyro": pyro.__version__, "at": pyro.__file__}
    with open(OUT, "a") as file:
        file.write(json.dumps(row) + "\n")
