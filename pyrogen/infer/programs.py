"""Calling Pyro programs with as many arguments as they have places for."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Program = Callable[..., Any]
MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
"""Makes a torch optimiser of parameters, e.g. ``partial(Adam, lr=1e-3)``."""


def make_optimizer(make: MakeOptimizer, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimiser, which updates all parameters in one call if it is of a kind that can and was not told otherwise.

    The arithmetic is that of torch's loop over parameters, which on a CPU costs several times as much.
    """
    optimizer = make(parameters)
    if type(optimizer) in (SGD, Adam, AdamW):
        for group in optimizer.param_groups:
            apart = any(group.get(way) for way in ("foreach", "capturable", "differentiable"))
            plain = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in group["params"])
            if group["fused"] is None and plain and not apart:
                group["fused"] = True
    return optimizer


def places(program: Program) -> int:
    """How many of ``(x, y, …)`` ``program`` takes; a large number for ``*args``.

    A further parameter counts if it must be given, or defaults to ``None``: a flag or a number that has a default is
    no place for labels.
    """
    signature = inspect.signature(program.forward if isinstance(program, nn.Module) else program)
    count = 0
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return 1_000
        named = parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if not named or (count and parameter.default not in (inspect.Parameter.empty, None)):
            break
        count += 1
    return count


def taking(program: Program, most: int) -> Program:
    """The same program, blind to positional arguments beyond the first ``most``."""
    return lambda *args, **kwargs: program(*args[:most], **kwargs)
