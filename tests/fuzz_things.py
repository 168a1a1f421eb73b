"""Python state that a program can read, and ways to change it, for the fuzz test of compiled steps."""

import types
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from pyrogen.random import scoped_seed


class Thing:
    """A piece of state: ``read(x)`` computes with it, ``change(number)`` changes it."""

    def __init__(self, number):
        self.number = number

    def read(self, x):
        return x * self.number

    def change(self, number):
        self.number = number


class Private(Thing):
    def __init__(self, number):
        self._number = number

    def read(self, x):
        return x + self._number

    def change(self, number):
        self._number = number


class Slot:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number

    read, change = Thing.read, Thing.change


def class_attribute(number):
    class Mine:
        held = number

        def read(self, x):
            return x * self.held

        @classmethod
        def change(cls, number):
            cls.held = number

    return Mine()


def of_a_base_class(number):
    base = type("Base", (), {"held": number})

    class Mine(base):
        def read(self, x):
            return x - super().held

        def change(self, number):
            base.held = number

    return Mine()


def entry(number):
    table = {"a": [0.0, {"b": number}], "c": (1.0, [2.0])}
    thing = SimpleNamespace(read=lambda x: x * table["a"][1]["b"] + sum(table["c"][1]))

    def change(number):
        table["a"][1]["b"] = number
        if number > 1:
            table["c"][1].append(number)
        else:
            table["c"] = (1.0, [number])

    thing.change = change
    return thing


def order(number):
    table = {1.0: "a", 2.0: "b", number + 3: "c"}

    def change(number):
        first = next(iter(table))
        table[first] = table.pop(first)
        table[number] = "d"

    def read(x):
        for scale in table:
            x = x.tanh() + scale
        return x

    return SimpleNamespace(read=read, change=change)


def variable(number):
    def change(new):
        nonlocal number
        number = new

    return SimpleNamespace(read=lambda x: x + number, change=change)


def global_variable(number):
    """State in a module of its own."""
    module = types.ModuleType("mine")
    code = "def read(x):\n    return inner(x)\ndef inner(x):\n    return [x * number for _ in range(1)][0]"
    exec(code, vars(module))
    module.number = number
    return SimpleNamespace(read=module.read, change=lambda number: setattr(module, "number", number))


def attribute_of_a_module(number):
    module = types.ModuleType("other")
    module.number = number
    return SimpleNamespace(read=lambda x: x - module.number, change=lambda number: setattr(module, "number", number))


def default_argument(number):
    def read(x, number=number, *, more=0.0):
        return x * number + more

    def change(number):
        read.__defaults__ = (number,)
        read.__kwdefaults__["more"] = number / 2

    return SimpleNamespace(read=lambda x: read(x), change=change)


def array(number):
    held = np.array([[number, 1.0], [2.0, 3.0]])[:, :1]

    def change(number):
        held[1] = number

    return SimpleNamespace(read=lambda x: x * float(held.sum()), change=change)


def tensor(number):
    held = [torch.full((2,), number)]

    def change(number):
        if number > 1:
            held[0].data.fill_(number)
        elif number > 0:
            held[0] = torch.full((2,), number)
        elif number > -1:
            held[0].data = torch.full((1,), number)
        else:
            held[0] = torch.full((2,), number, requires_grad=True)

    return SimpleNamespace(read=lambda x: x * held[0], change=change)


class Scaled(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.register_buffer("number", torch.tensor(number))

    def forward(self, x):
        return x * self.number


def network(number):
    with scoped_seed(0):
        net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), Scaled(number))

    def change(number):
        with scoped_seed(int(100 + 10 * number)):
            if number > 2:
                net[0] = nn.Linear(2, 2)
            elif number > 1:
                net[1].train(not net[1].training)
            elif number > 0:
                net[0].requires_grad_(not net[0].weight.requires_grad)
            elif number > -1:
                net[1].p = abs(number) / 2
            elif number > -2:
                net[2].number = torch.tensor(number)
            else:
                net.append(nn.Tanh())

    return SimpleNamespace(read=net.forward if number > 1 else (lambda x: net(x)), change=change, net=net)


def hooked(number):
    net = nn.Identity()
    hooks = []

    def change(number):
        if number > 0 or not hooks:
            hooks.append(net.register_forward_hook(lambda module, inputs, output: output * number))
        else:
            hooks.pop().remove()

    return SimpleNamespace(read=lambda x: net(x), change=change)


def method(number):
    thing = Thing(number)

    def change(number):
        thing.read = lambda x: x - number

    return SimpleNamespace(read=lambda x: thing.read(x), change=change)


def class_of_an_object(number):
    thing = Thing(number)

    class Other(Thing):
        def read(self, x):
            return x + 3 * self.number

    def change(number):
        thing.__class__ = Other if number > 0 else Thing

    return SimpleNamespace(read=lambda x: thing.read(x), change=change)


def computed_name(number):
    space = SimpleNamespace(which="a", a=number, b=2.0)

    def change(number):
        space.which = "b" if number > 0 else "a"
        setattr(space, space.which, number)

    return SimpleNamespace(read=lambda x: x * getattr(space, space.which), change=change)


def switch(number):
    state = SimpleNamespace(on=number > 0, layers=1)

    def read(x):
        if not state.on:
            return x
        for _ in range(state.layers):
            x = x.tanh() + 1
        return x

    def change(number):
        state.on = number > 0
        state.layers = 1 + abs(int(number))

    return SimpleNamespace(read=read, change=change)


KINDS = [
    *(Thing, Private, Slot, class_attribute, of_a_base_class, entry, order, variable, global_variable),
    *(attribute_of_a_module, default_argument, array, tensor, network, hooked, method, class_of_an_object),
    *(computed_name, switch),
]
