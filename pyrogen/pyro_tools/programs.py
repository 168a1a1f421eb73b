"""Calling Pyro programs with as many arguments as they take."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

Program = Callable[..., Any]


def count_positional(program: Program) -> int:
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


def arity(program: Program) -> int:
    """How many of ``(x, y, …)`` a program is to be given: all that its signature takes, or fewer.

    The object that ``program`` is a method of may declare fewer by ``takes``, ``{"log_prob": 1, …}``, as an
    unconditional model does.
    """
    declared = getattr(getattr(program, "__self__", None), "takes", None)
    most = declared.get(getattr(program, "__name__", "")) if isinstance(declared, Mapping) else None
    return most if isinstance(most, int) else count_positional(program)


def drop_extra_args(program: Program) -> Program:
    """The same program, blind to positional arguments beyond the first ``arity(program)``."""
    most = arity(program)
    return lambda *args, **kwargs: program(*args[:most], **kwargs)
