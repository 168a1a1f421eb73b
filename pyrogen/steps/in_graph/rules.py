"""The update rules of optimisers as functions that can be traced into a graph.

A rule computes the new value of a weight and of its state from its gradient. What changes from step to step, such as
the learning rate and the corrections of Adam's moments, is passed as a tensor; the other settings are constants.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from pyro.optim.clipped_adam import ClippedAdam
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

Settings = Mapping[str, Any]
"""A parameter group of an optimiser."""


@dataclass(frozen=True)
class Rule:
    """The update rule of a class of optimisers.

    Args:
        state: names of the state tensors of a weight that an update reads and writes, given the settings.
        scalars: the numbers that change from step to step, given the settings and the number of the update, from 1.
        update: ``update(weight, gradient, state, scalars, settings)``, the new weight and the new state tensors.
        unsupported: settings that the rule does not implement unless they are false.
        settings: names of the settings that are constants of a graph.
    """

    state: Callable[[Settings], tuple[str, ...]]
    scalars: Callable[[Settings, int], tuple[float, ...]]
    update: Callable[[Tensor, Tensor, tuple[Tensor, ...], Tensor, Settings], tuple[Tensor, ...]]
    settings: tuple[str, ...]
    unsupported: tuple[str, ...] = ("maximize", "foreach", "capturable", "differentiable")


def _adam_scalars(settings: Settings, t: int) -> tuple[float, ...]:
    beta1, beta2 = settings["betas"]
    size = settings["lr"] / (1 - beta1**t)
    return size, 1 / sqrt(1 - beta2**t), 1 - settings["lr"] * settings["weight_decay"]


def _adam(w: Tensor, g: Tensor, state: tuple[Tensor, ...], h: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """Kingma and Ba, 2015; with decoupled weight decay, Loshchilov and Hutter, 2019."""
    (m, v), (beta1, beta2) = state, settings["betas"]
    if settings["weight_decay"] and settings.get("decoupled_weight_decay"):
        w = w * h[2]
    elif settings["weight_decay"]:
        g = g + settings["weight_decay"] * w
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    return w - h[0] * m / (v.sqrt() * h[1] + settings["eps"]), m, v


def _clipped_adam_scalars(settings: Settings, t: int) -> tuple[float, ...]:
    beta1, beta2 = settings["betas"]
    return (settings["lr"] * settings["lrd"] * sqrt(1 - beta2**t) / (1 - beta1**t),)


def _clipped_adam(w: Tensor, g: Tensor, state: tuple[Tensor, ...], h: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """Pyro's: each entry of the gradient is clipped, and ε is added before the correction of the second moment."""
    (m, v), (beta1, beta2) = state, settings["betas"]
    g = g.clamp(-settings["clip_norm"], settings["clip_norm"])
    if settings["weight_decay"]:
        g = g + settings["weight_decay"] * w
    m = beta1 * m + (1 - beta1) * g
    deviation = g - m if settings.get("centered_variance") else g
    v = beta2 * v + (1 - beta2) * deviation * deviation
    return w - h[0] * m / (v.sqrt() + settings["eps"]), m, v


def _sgd(w: Tensor, g: Tensor, state: tuple[Tensor, ...], h: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    if settings["weight_decay"]:
        g = g + settings["weight_decay"] * w
    if not state:
        return (w - h[0] * g,)
    velocity = settings["momentum"] * state[0] + (1 - settings["dampening"]) * g
    return w - h[0] * (g + settings["momentum"] * velocity if settings["nesterov"] else velocity), velocity


def _rmsprop(w: Tensor, g: Tensor, state: tuple[Tensor, ...], h: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """Tieleman and Hinton, 2012, without momentum and centring."""
    if settings["weight_decay"]:
        g = g + settings["weight_decay"] * w
    v = settings["alpha"] * state[0] + (1 - settings["alpha"]) * g * g
    return w - h[0] * g / (v.sqrt() + settings["eps"]), v


_ADAM = Rule(
    lambda settings: ("exp_avg", "exp_avg_sq"),
    _adam_scalars,
    _adam,
    ("betas", "eps", "weight_decay", "decoupled_weight_decay"),
    ("maximize", "foreach", "capturable", "differentiable", "amsgrad"),
)
RULES: dict[type[Optimizer], Rule] = {
    Adam: _ADAM,
    AdamW: _ADAM,
    ClippedAdam: Rule(
        lambda settings: ("exp_avg", "exp_avg_sq"),
        _clipped_adam_scalars,
        _clipped_adam,
        ("betas", "eps", "weight_decay", "clip_norm", "centered_variance"),
    ),
    SGD: Rule(
        lambda settings: ("momentum_buffer",) if settings["momentum"] else (),
        lambda settings, t: (settings["lr"],),
        _sgd,
        ("weight_decay", "momentum", "dampening", "nesterov"),
    ),
    RMSprop: Rule(
        lambda settings: ("square_avg",),
        lambda settings, t: (settings["lr"],),
        _rmsprop,
        ("weight_decay", "alpha", "eps"),
        ("maximize", "foreach", "capturable", "differentiable", "centered", "momentum"),
    ),
}
"""The rules by class of optimiser; subclasses have none, as they may override the update."""
