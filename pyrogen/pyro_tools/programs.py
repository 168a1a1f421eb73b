"""Calling Pyro programs with only as many positional arguments as they accept."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

Program = Callable[..., Any]


def count_positional(program: Program) -> int:
    """Count the positional arguments ``(x, y, …)`` that ``program`` accepts; 1000 for ``*args``.

    After the first, a parameter counts only if it has no default or defaults to ``None``: labels must not be passed
    as a flag or a number that has a default.
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
    """Return the number of arguments ``(x, y, …)`` that ``program`` is to be given: all that it accepts, or fewer.

    The object that ``program`` is a method of may declare fewer by ``takes``, ``{"log_prob": 1, …}``, as an
    unconditional model does.
    """
    declared = getattr(getattr(program, "__self__", None), "takes", None)
    most = declared.get(getattr(program, "__name__", "")) if isinstance(declared, Mapping) else None
    return most if isinstance(most, int) else count_positional(program)


def drop_extra_args(program: Program) -> Program:
    """Wrap ``program`` so that positional arguments after the first ``arity(program)`` are dropped."""
    n = arity(program)
    return lambda *args, **kwargs: program(*args[:n], **kwargs)
