"""Changes to networks, tensors and settings between two calls of a step, in the form of ``stale_cases``."""

from typing import ClassVar

import pyro
import torch
from stale_cases import case, linear
from torch import nn
from torch.nn.utils import parametrizations

from pyrogen.random import scoped_seed

AROUND = []
"""Pyro handlers that are active around each call."""


@case
def replaced_buffer():
    net = nn.Module()
    net.register_buffer("shift", torch.zeros(2))
    yield lambda x: x + net.shift
    net.shift = torch.ones(2)
    yield
    net.shift = torch.full((2,), 2.0)
    yield
    net.shift = torch.ones(1)  # of another shape
    yield


@case
def replaced_parameter():
    net = linear()
    yield lambda x: net(x)
    net.weight = nn.Parameter(torch.ones(2, 2))
    yield
    net.bias = None
    yield


@case
def replaced_layer():
    net = nn.Sequential(linear(), nn.Tanh())
    yield lambda x: net(x)
    net[0] = linear(1)
    yield
    net[1] = nn.Softplus()
    yield
    net.append(linear(2))
    yield


@case
def entries_of_module_lists():
    with scoped_seed(0):
        net = nn.Module()
        net.layers = nn.ModuleList([nn.Linear(2, 2)])
        net.scales = nn.ParameterList([nn.Parameter(torch.ones(2))])
        net.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(2))})

    def f(x):
        for layer in net.layers:
            x = layer(x)
        return x * sum(net.scales) * sum(net.named.values())

    yield f
    net.layers.append(linear(3))
    yield
    net.scales.append(nn.Parameter(torch.full((2,), 2.0)))
    yield
    net.named["b"] = nn.Parameter(torch.full((2,), 2.0))
    yield


@case
def class_attribute_of_a_network():
    class P(nn.Module):
        scale: ClassVar = 1.0

        def forward(self, x):
            return self.scale * x

    p = P()
    yield lambda x: p(x)
    P.scale = 3.0
    yield


@case
def content_of_a_tensor():
    shift = torch.zeros(2)
    yield lambda x: x + shift
    shift[1] = 2.0
    yield
    shift.data = torch.ones(2)
    yield
    shift.data = torch.ones(1)
    yield


@case
def data_of_a_parameter():
    net = linear()
    yield lambda x: net(x)
    net.weight.data = torch.ones(2, 2)
    yield
    net.weight.data = torch.arange(8.0).reshape(2, 4)[:, ::2]
    yield


@case
def rate_of_dropout():
    net = nn.Sequential(linear(), nn.Dropout(0.5))
    yield lambda x: net(x)
    net[1].p = 0.0
    yield


@case
def mode_of_an_inner_layer():
    net = nn.Sequential(linear(), nn.Dropout(0.5), nn.BatchNorm1d(2))
    yield lambda x: net(x)
    net[1].eval()
    yield
    net[2].eval()
    yield
    net[2].momentum = 0.5
    net.train()
    yield


@case
def hooks():
    net = linear()
    yield lambda x: net(x)
    hook = net.register_forward_hook(lambda module, inputs, output: 2 * output)
    yield
    before = net.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    yield
    hook.remove()
    yield
    before.remove()
    yield


@case
def hook_on_a_gradient():
    net = linear()
    yield net
    net.weight.register_hook(lambda gradient: -5 * gradient)
    yield


@case
def hook_on_a_backward_pass():
    net = nn.Sequential(linear(), linear(1), nn.Tanh())
    yield net
    net[1].register_full_backward_hook(lambda module, above, below: tuple(-5 * g for g in above if g is not None))
    net[2].register_full_backward_pre_hook(lambda module, below: tuple(-5 * g for g in below))
    yield


@case
def replaced_methods():
    class P(nn.Module):
        def forward(self, x):
            return self.inner(x) + self.static(x)

        def inner(self, x):
            return x

        @staticmethod
        def static(x):
            return x

    p = P()
    yield lambda x: p(x)
    p.inner = lambda x: 2 * x
    yield
    P.static = staticmethod(lambda x: 3 * x)
    yield
    P.inner = lambda self, x: 4 * x
    del p.inner
    yield
    P.forward = lambda self, x: 5 * x
    yield
    p.forward = lambda x: 6 * x
    yield


@case
def parametrization():
    net = linear()
    yield lambda x: net(x)
    with scoped_seed(1):
        parametrizations.weight_norm(net)
    yield
    net.parametrizations.weight.original0.data *= 2
    yield


@case
def frozen_and_unfrozen():
    net = nn.Sequential(linear())
    yield net
    net[0].weight.requires_grad_(False)
    yield
    net.requires_grad_(False)
    yield
    net.requires_grad_(True)
    yield


@case
def frozen_from_the_start():
    net = linear().requires_grad_(False)
    yield net
    net.requires_grad_(True)
    yield
    net.requires_grad_(False)
    yield


@case
def frozen_where_no_network_is_registered():
    nets = {"a": [linear()]}
    yield lambda x: nets["a"][0](x)
    nets["a"][0].requires_grad_(False)
    yield
    nets["a"][0].requires_grad_(True)
    yield


@case
def precision_of_a_network():
    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = linear()

        def forward(self, x):
            return self.net(x.to(self.net.weight.dtype)).float()

    net = Any()
    yield net
    net.bfloat16()
    yield
    net.double()
    yield
    net.float()
    yield


@case
def default_type():
    yield lambda x: x + torch.tensor([1.0 / 3]).float() * torch.ones(1).element_size()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    yield


@case
def handler_around_the_call():
    yield lambda x: x
    AROUND.append(pyro.poutine.scale(scale=2.0))
    yield
    AROUND.append(pyro.poutine.mask(mask=torch.tensor(False)))
    yield
    AROUND.clear()
    yield
