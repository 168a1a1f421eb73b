"""What a graph cannot follow runs eagerly, with right numbers and one line that names the thing.

A stand-in for the code generator runs the traced graphs as they are (see ``hosts.interpret``), but in the last tests.
"""

import contextvars
import itertools
import logging
import os
import random
import re
import threading
import time
import uuid
from collections import OrderedDict
from datetime import datetime
from functools import cache, partial

import numpy as np
import pyro
import pytest
import stale_networks  # noqa: F401 (its cases join the others)
import torch
from hosts import HOSTS, interpret, program
from stale_cases import CASES
from torch import nn
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.random import scoped_seed

X = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.5]])
COUNT = 0
OPAQUE = {}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)


def opaque(why):
    """``make() -> f`` and what the line must say."""

    def mark(make):
        OPAQUE[make.__name__.replace("_", " ")] = make, why
        return make

    return mark


@opaque("it uses random.random, whose answers a graph would repeat for ever")
def python_random():
    return lambda x: x * random.random()


@opaque("'generator' is a Random: a graph would repeat one draw for ever")
def python_generator():
    generator = random.Random(0)
    return lambda x: x * generator.random()


@opaque("it uses np.random.rand, whose answers a graph would repeat for ever")
def numpy_random():
    return lambda x: x * np.random.rand()


@opaque("'generator' is a Generator: a graph would repeat one draw for ever")
def numpy_generator():
    generator = np.random.default_rng(0)
    return lambda x: x * generator.random()


@opaque("'generator' is a Generator: a graph would repeat one draw for ever")
def torch_generator():
    generator = torch.Generator().manual_seed(0)
    return lambda x: x * torch.rand(2, generator=generator)


@opaque("'numbers' is a builtins.list_iterator, which cannot be looked into")
def iterator():
    numbers = iter([float(i) for i in range(100)])
    return lambda x: x + next(numbers)


@opaque("'numbers' is a itertools.count, which cannot be looked into")
def counter():
    numbers = itertools.count()
    return lambda x: x + next(numbers)


@opaque("'numbers' is a builtins.generator, which cannot be looked into")
def generator():
    numbers = (float(i) for i in range(100))
    return lambda x: x + next(numbers)


@opaque("'file' is a _io.TextIOWrapper, which cannot be looked into")
def open_file():
    file = open(__file__)  # noqa: SIM115
    return lambda x: x + len(file.readline())


@opaque("it calls 'open', which can read anything")
def opens_a_file():
    def f(x):
        with open(__file__) as file:
            return x + len(file.readline())

    return f


@opaque("it calls 'eval', which can read anything")
def evaluates_text():
    return lambda x: eval("x + COUNT", globals(), {"x": x})


@opaque("it uses time.time, whose answers a graph would repeat for ever")
def clock():
    return lambda x: x + (time.time() < 0)


@opaque("it uses datetime.now, .*")
def calendar():
    return lambda x: x + (datetime.now().year < 0)


@opaque("it uses os.environ, whose answers a graph would repeat for ever")
def environment():
    return lambda x: x + float(os.environ.get("NOT_THERE", 1.0))


@opaque("it uses uuid.uuid4, whose answers a graph would repeat for ever")
def identifier():
    return lambda x: x + (uuid.uuid4().int < 0)


@opaque("'local' is a _thread._local, which cannot be looked into")
def of_a_thread():
    local = threading.local()
    local.scale = 1.0
    return lambda x: x * local.scale


@opaque("'variable' is a _contextvars.ContextVar, which cannot be looked into")
def of_a_context():
    variable = contextvars.ContextVar("scale", default=1.0)
    return lambda x: x * variable.get()


@opaque("'scale' is a functools._lru_cache_wrapper, which cannot be looked into")
def cached_function():
    @cache
    def scale():
        return 1.0

    return lambda x: x * scale()


@opaque("'content' is a builtins.bytearray, which cannot be looked into")
def bytes_that_change():
    content = bytearray(b"abc")
    return lambda x: x + content[0]


@opaque("the program changes 'P.t' when it runs, which a graph would not do")
def writes_an_attribute():
    class P:
        t = 0

        def f(self, x):
            self.t = self.t + 1
            return x + self.t

    return P().f


@opaque("the program changes '.*seen' when it runs, .*")
def writes_an_attribute_of_a_function():
    def f(x):
        f.seen = getattr(f, "seen", 0) + 1
        return x + f.seen

    return f


@opaque("the program changes 'P.t' when it runs, .*")
def writes_an_attribute_of_a_class():
    class P:
        t = 0

        def f(self, x):
            P.t += 1
            return x + self.t

    return P().f


@opaque("the program changes 'seen' when it runs, .*")
def appends_to_a_list():
    seen = []

    def f(x):
        seen.append(1)
        return x + len(seen)

    return f


@opaque("the program changes 'seen.*' when it runs, .*")
def fills_a_dict():
    seen = {"first": 0}

    def f(x):
        seen[len(seen)] = 1
        return x + len(seen)

    return f


@opaque("the program changes 'table.*' when it runs, .*")
def moves_an_entry():
    table = OrderedDict(a=1.0, b=2.0)

    def f(x):
        table.move_to_end(next(iter(table)))
        return x + next(iter(table.values()))

    return f


@opaque("the program changes 'COUNT' when it runs, which a graph would not do")
def counts_in_a_global():
    global COUNT
    COUNT = 0

    def f(x):
        global COUNT
        COUNT += 1
        return x + COUNT

    return f


@opaque("the program changes 't' when it runs, which a graph would not do")
def counts_in_a_variable():
    t = 0

    def f(x):
        nonlocal t
        t += 1
        return x + t

    return f


@opaque("the program changes 'array' when it runs, which a graph would not do")
def writes_into_an_array():
    array = np.zeros(3)

    def f(x):
        array[0] += 1
        return x + float(array[0])

    return f


@opaque("'table' is a numpy array of shape \\(100000,\\): only up to .*")
def large_array():
    table = np.ones(100_000)
    return lambda x: x * float(table[0])


@opaque("'table' is a numpy array of shape \\(1,\\): .*")
def array_of_objects():
    table = np.array([{"scale": 1.0}], dtype=object)
    return lambda x: x * table[0]["scale"]


@opaque("'things' is a set of objects whose order is not fixed")
def set_of_objects():
    things = {lambda: 1.0, lambda: 2.0}
    return lambda x: x * sum(thing() for thing in things)


@opaque("Python depends on the value of a tensor \\(test_opaque.py, line \\d+\\)")
def branches_on_a_value():
    return lambda x: x if x.sum().item() < 0 else 2 * x


def train(host, make, compile, steps=6):
    pyro.clear_param_store()
    random.seed(0)
    np.random.seed(0)
    step, refused = HOSTS[host](make(), compile, 0.05)
    losses = []
    for t in range(steps):
        with scoped_seed(t):
            losses.append(step(X))
    return losses, refused()


@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.parametrize("name", OPAQUE)
def test_an_opaque_program_runs_eagerly_and_says_why(quick, name, caplog):
    make, why = OPAQUE[name]
    eager, _ = train("SVI", make, False)
    with caplog.at_level(logging.WARNING, "pyrogen"):
        values, refused = train("SVI", make, True)
    assert values == eager
    assert re.fullmatch(why, refused or ""), refused
    assert [refused in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("host", ["Pyro's SVI", "Descent", "game"])
def test_every_step_runs_an_opaque_program_eagerly(quick, host):
    for name in ("python random", "iterator", "counts in a variable"):
        make, why = OPAQUE[name]
        eager, _ = train(host, make, False)
        values, refused = train(host, make, True)
        assert values == eager
        assert re.fullmatch(why, refused or ""), refused


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("large array", "table"),
        ("array of objects", "table"),
        ("cached function", "scale"),
        ("of a context", "variable"),
        ("environment", "environ"),
        ("clock", "time"),
    ],
)
def test_the_user_says_what_is_constant(quick, name, constant):
    make, _ = OPAQUE[name]
    step = SVI(*program(make()), optim=partial(SGD, lr=0.0), compile=True, constant=[constant])
    losses = [step.step(X) for _ in range(3)]
    assert step.refused is None
    assert losses[1] == losses[2]


def test_changes_are_followed_by_compiled_code():
    """By the real compiler."""

    def losses(compile):
        steps, found = CASES["frozen and unfrozen"](), []
        step, refused = HOSTS["SVI"](next(steps), compile, 0.05)
        while True:
            for _ in range(3):
                with scoped_seed(len(found)):
                    found.append(step(X))
            if next(steps, "end") == "end":
                assert refused() is None
                return found

    assert losses(True) == pytest.approx(losses(False), rel=1e-4)


def test_a_network_that_was_never_seen_in_a_list_is_frozen_and_trained_again():
    """By the real compiler: frozen weights stay, bit for bit, and move again afterwards."""
    nets = [nn.Linear(2, 2)]
    step = SVI(*program(lambda x: nets[0](x)), optim=partial(SGD, lr=0.05), compile=True)
    for _ in range(3):
        step.step(X)
    nets[0].weight.requires_grad_(False)
    before = nets[0].weight.detach().clone(), nets[0].bias.detach().clone()
    for _ in range(3):
        step.step(X)
    assert torch.equal(nets[0].weight, before[0])
    assert not torch.equal(nets[0].bias, before[1])
    nets[0].weight.requires_grad_(True)
    step.step(X)
    assert not torch.equal(nets[0].weight, before[0])
    assert step.refused is None
