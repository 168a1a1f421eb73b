"""Calling Pyro programs with as many arguments as they have places for."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

Program = Callable[..., Any]


def places(program: Program) -> int:
    """How many positional arguments ``program`` takes; a large number for ``*args``."""
    signature = inspect.signature(program.forward if isinstance(program, nn.Module) else program)
    kinds = [p.kind for p in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 1_000
    return sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)


def taking(program: Program, most: int) -> Program:
    """The same program, blind to positional arguments beyond the first ``most``."""
    return lambda *args, **kwargs: program(*args[:most], **kwargs)
