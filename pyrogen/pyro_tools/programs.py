"""Calling Pyro programs with only as many positional arguments as they accept."""

import inspect
from collections.abc import Callable
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


def drop_extra_args(program: Program, n: int) -> Program:
    """Wrap ``program`` so that positional arguments after the first ``n`` are dropped."""
    return lambda *args, **kwargs: program(*args[:n], **kwargs)
