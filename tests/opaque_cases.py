"""Opaque programs, as ``make() -> f(x)``, with the reason that must be logged."""

import contextvars
import itertools
import os
import random
import threading
import time
import uuid
from collections import OrderedDict
from datetime import datetime
from functools import cache

import numpy as np
import torch

COUNT = 0
OPAQUE = {}


def opaque(why):
    """Register ``make() -> f`` with a pattern for the logged reason."""

    def mark(make):
        OPAQUE[make.__name__.replace("_", " ")] = make, why
        return make

    return mark


@opaque("it uses random.random, whose results a graph would freeze")
def python_random():
    return lambda x: x * random.random()


@opaque("'generator' is a Random, whose draws a graph would freeze")
def python_generator():
    generator = random.Random(0)
    return lambda x: x * generator.random()


@opaque("it uses np.random.rand, whose results a graph would freeze")
def numpy_random():
    return lambda x: x * np.random.rand()


@opaque("'generator' is a Generator, whose draws a graph would freeze")
def numpy_generator():
    generator = np.random.default_rng(0)
    return lambda x: x * generator.random()


@opaque("'generator' is a Generator, whose draws a graph would freeze")
def torch_generator():
    generator = torch.Generator().manual_seed(0)
    return lambda x: x * torch.rand(2, generator=generator)


@opaque("'numbers' is a builtins.list_iterator, whose state cannot be inspected")
def iterator():
    numbers = iter([float(i) for i in range(100)])
    return lambda x: x + next(numbers)


@opaque("'numbers' is a itertools.count, whose state cannot be inspected")
def counter():
    numbers = itertools.count()
    return lambda x: x + next(numbers)


@opaque("'numbers' is a builtins.generator, whose state cannot be inspected")
def generator():
    numbers = (float(i) for i in range(100))
    return lambda x: x + next(numbers)


@opaque("'file' is a _io.TextIOWrapper, whose state cannot be inspected")
def open_file():
    file = open(__file__)  # noqa: SIM115
    return lambda x: x + len(file.readline())


@opaque("it calls 'open', which can read arbitrary state")
def opens_a_file():
    def f(x):
        with open(__file__) as file:
            return x + len(file.readline())

    return f


@opaque("it calls 'eval', which can read arbitrary state")
def evaluates_text():
    return lambda x: eval("x + COUNT", globals(), {"x": x})


@opaque("it uses time.time, whose results a graph would freeze")
def clock():
    return lambda x: x + (time.time() < 0)


@opaque("it uses datetime.now, .*")
def calendar():
    return lambda x: x + (datetime.now().year < 0)


@opaque("it uses os.environ, whose results a graph would freeze")
def environment():
    return lambda x: x + float(os.environ.get("NOT_THERE", 1.0))


@opaque("it uses uuid.uuid4, whose results a graph would freeze")
def identifier():
    return lambda x: x + (uuid.uuid4().int < 0)


@opaque("'local' is a _thread._local, whose state cannot be inspected")
def of_a_thread():
    local = threading.local()
    local.scale = 1.0
    return lambda x: x * local.scale


@opaque("'variable' is a _contextvars.ContextVar, whose state cannot be inspected")
def of_a_context():
    variable = contextvars.ContextVar("scale", default=1.0)
    return lambda x: x * variable.get()


@opaque("'scale' is a functools._lru_cache_wrapper, whose state cannot be inspected")
def cached_function():
    @cache
    def scale():
        return 1.0

    return lambda x: x * scale()


@opaque("'content' is a builtins.bytearray, whose state cannot be inspected")
def bytes_that_change():
    content = bytearray(b"abc")
    return lambda x: x + content[0]


@opaque("the program modifies 'P.t' when it runs, which a compiled graph would not do")
def writes_an_attribute():
    class P:
        t = 0

        def f(self, x):
            self.t = self.t + 1
            return x + self.t

    return P().f


@opaque("the program modifies '.*seen' when it runs, .*")
def writes_an_attribute_of_a_function():
    def f(x):
        f.seen = getattr(f, "seen", 0) + 1
        return x + f.seen

    return f


@opaque("the program modifies 'P.t' when it runs, .*")
def writes_an_attribute_of_a_class():
    class P:
        t = 0

        def f(self, x):
            P.t += 1
            return x + self.t

    return P().f


@opaque("the program modifies 'seen' when it runs, .*")
def appends_to_a_list():
    seen = []

    def f(x):
        seen.append(1)
        return x + len(seen)

    return f


@opaque("the program modifies 'seen.*' when it runs, .*")
def fills_a_dict():
    seen = {"first": 0}

    def f(x):
        seen[len(seen)] = 1
        return x + len(seen)

    return f


@opaque("the program modifies 'table.*' when it runs, .*")
def moves_an_entry():
    table = OrderedDict(a=1.0, b=2.0)

    def f(x):
        table.move_to_end(next(iter(table)))
        return x + next(iter(table.values()))

    return f


@opaque("the program modifies 'COUNT' when it runs, which a compiled graph would not do")
def counts_in_a_global():
    global COUNT
    COUNT = 0

    def f(x):
        global COUNT
        COUNT += 1
        return x + COUNT

    return f


@opaque("the program modifies 't' when it runs, which a compiled graph would not do")
def counts_in_a_variable():
    t = 0

    def f(x):
        nonlocal t
        t += 1
        return x + t

    return f


@opaque("the program modifies 'array' when it runs, which a compiled graph would not do")
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


@opaque("'things' is a set of objects, whose order is not deterministic")
def set_of_objects():
    things = {lambda: 1.0, lambda: 2.0}
    return lambda x: x * sum(thing() for thing in things)


@opaque("Python code depends on the value of a tensor \\(opaque_cases.py, line \\d+\\)")
def branches_on_a_value():
    return lambda x: x if x.sum().item() < 0 else 2 * x
