"""The memory of a model: one that does not fit is refused before it is allocated."""

import re
from contextlib import suppress
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pyrogen.data.sources.untrusted import memory_excess
from pyrogen.errors import ConfigError

_FACTORY = re.compile(r"aten::(new_)?(empty|zeros|ones|full|rand|randn|randint|eye)\b")
_SMALL = 64 << 20  # bytes, for which the memory is not looked up
_COPIES = 4  # gradients, the two moments of Adam, and the weights that a run would end with


class MemoryLimit(TorchDispatchMode):
    """Inside, a new tensor larger than the available memory is refused before it is allocated.

    The system would otherwise grant it, and end the process when it is filled.

    Raises:
        ConfigError: naming the memory needed and available.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compare the size of what a function returns with the memory, and call it."""
        kwargs = kwargs or {}
        if _FACTORY.match(func._schema.name):
            numbers = args[:2] if len(args) > 1 else 2 * args  # of eye(n) or eye(n, m)
            sizes = next((part for part in args if isinstance(part, list | tuple)), numbers)
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            _check(prod(n for n in sizes if isinstance(n, int)) * dtype.itemsize)
        elif not func._schema.is_mutable:
            _check_result(func, args, kwargs)
        return func(*args, **kwargs)


def check_training(model: nn.Module) -> None:
    """Raise unless a model on the CPU can be trained beside its own weights.

    Raises:
        ConfigError: naming the memory needed and available.
    """
    _check(_COPIES * sum(p.nbytes for p in model.parameters() if p.device.type == "cpu"))


def _check_result(func: Any, args: Any, kwargs: Any) -> None:
    """Check what a function of tensors would return, where broadcasting or a product could make it large."""
    given = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    if prod(max(1, part.numel()) for part in given) <= _SMALL:
        return
    with suppress(NotImplementedError, RuntimeError, TypeError):  # some functions depend on values
        args, kwargs = tree_map_only(Tensor, lambda part: part.to("meta"), (args, kwargs))
        made = [part for part in tree_leaves(func(*args, **kwargs)) if isinstance(part, Tensor)]
        _check(sum(part.untyped_storage().nbytes() for part in made))


def _check(nbytes: int) -> None:
    if nbytes > _SMALL and (excess := memory_excess(nbytes)):
        raise ConfigError(f"a model of these sizes {excess}; choose smaller ones")
