"""Changes to the state of a program between two calls of a step, which a compiled step must take account of.

Each case is a generator: it yields a function ``f(x)`` for a step, and then once more after each change that it makes
to the state which ``f`` reads.
"""

import sys
import types
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from torch import nn

from pyrogen.random import scoped_seed

CASES = {}
SCALE = 1.0
SETTINGS = SimpleNamespace(scale=1.0)
TABLE = {"a": {"b": [1.0, 2.0]}}
ELSEWHERE = types.ModuleType("elsewhere")
sys.modules["elsewhere"] = ELSEWHERE


def case(function):
    CASES[function.__name__.replace("_", " ").strip()] = function
    return function


def linear(seed=0):
    with scoped_seed(seed):
        return nn.Linear(2, 2)


@dataclass
class Options:
    scale: float = 1.0


@dataclass(slots=True)
class Slots:
    scale: float = 1.0


@case
def attribute_that_begins_with_underscore():
    class P:
        def __init__(self):
            self._scale = 1.0

        def f(self, x):
            return self._scale * x

    p = P()
    yield p.f
    p._scale = 3.0
    yield


@case
def attribute_of_two_underscores():
    class P:
        def __init__(self):
            self.__scale = 1.0

        def f(self, x):
            return self.__scale * x

        def change(self):
            self.__scale = 3.0

    p = P()
    yield p.f
    p.change()
    yield


@case
def attribute_added_and_deleted():
    class P:
        scale = 1.0

        def f(self, x):
            return (self.scale + (2.0 if hasattr(self, "more") else 0.0)) * x

    p = P()
    yield p.f
    p.scale = 2.0  # over the class's
    yield
    p.more = True
    yield
    del p.scale
    yield


@case
def class_attribute():
    class Base:
        base = 1.0

    class P(Base):
        scale = 1.0

        def f(self, x):
            return self.scale * x + self.base

        def g(self, x):
            return type(self).scale * self.f(x) + super().base

    p = P()
    yield p.g
    P.scale = 3.0
    yield
    Base.base = 4.0
    yield
    P.base = 5.0
    yield


@case
def entry_of_nested_containers():
    table = {"a": {"b": [1.0, (2.0, {"c": 3.0})]}}
    yield lambda x: table["a"]["b"][0] * x + table["a"]["b"][1][1]["c"]
    table["a"]["b"][0] = 5.0
    yield
    table["a"]["b"][1][1]["c"] = 7.0
    yield
    table["a"] = {"b": [0.5, (1.0, {"c": 1.0})]}
    yield


@case
def order_and_kind_of_containers():
    table = OrderedDict(a=1.0, b=2.0)
    queue, names, point = deque([1.0, 2.0]), {"a"}, namedtuple("Point", "x y")(1.0, 2.0)
    held = [point]

    def f(x):
        for scale in table.values():
            x = scale * x + 1
        return x * queue[0] + (3.0 if "b" in names else 0.0) + held[0].y

    yield f
    table.move_to_end("a")
    yield
    queue.rotate()
    yield
    names.add("b")
    yield
    held[0] = point._replace(y=5.0)
    yield


@case
def element_of_an_array():
    array, view = np.ones(2), np.ones(4)
    held = SimpleNamespace(half=view[::2], scalar=np.float32(1.0))
    yield lambda x: x * float(array[0]) + float(held.half[1]) + float(held.scalar)
    array[0] = 3.0
    yield
    view[2] = 5.0
    yield
    held.scalar = np.float32(1.0000001)
    yield


@case
def global_variable():
    global SCALE
    SCALE = 1.0

    def inner(x):
        return sum(scaled for scaled in [SCALE * x for _ in range(1)])

    yield lambda x: inner(x)
    SCALE = 3.0
    yield


@case
def content_of_globals():
    SETTINGS.scale, TABLE["a"]["b"] = 1.0, [1.0, 2.0]
    yield lambda x: x * SETTINGS.scale + TABLE["a"]["b"][1]
    SETTINGS.scale = 4.0
    yield
    TABLE["a"]["b"][1] = 5.0
    yield


@case
def global_that_hides_a_builtin():
    globals().pop("abs", None)
    yield lambda x: abs(x)
    globals()["abs"] = lambda x: 2 * x
    yield
    del globals()["abs"]
    yield


@case
def global_of_another_module():
    ELSEWHERE.scale, ELSEWHERE.function = 1.0, lambda x: x

    def f(x):
        import elsewhere

        return elsewhere.function(x) * elsewhere.scale + ELSEWHERE.scale

    yield f
    ELSEWHERE.scale = 3.0
    yield
    ELSEWHERE.function = lambda x: x + 1
    yield


@case
def attributes_of_plain_objects():
    options, slots, space = Options(), Slots(), SimpleNamespace(inner=SimpleNamespace(scale=1.0))
    yield lambda x: x * options.scale + slots.scale + space.inner.scale
    options.scale = 3.0
    yield
    slots.scale = 4.0
    yield
    space.inner.scale = 5.0
    yield


@case
def slot_that_was_empty():
    class P:
        __slots__ = ("more", "scale")

        def f(self, x):
            return self.scale * x + getattr(self, "more", 0.0)

    p = P()
    p.scale = 1.0
    yield p.f
    p.more = 3.0
    yield
