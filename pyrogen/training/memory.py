"""Memory: a model that does not fit is refused before it is allocated, and freed memory stays in the process."""

import ctypes
import os
import platform
import re
from contextlib import suppress
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pyrogen.data.sources.untrusted import memory_excess
from pyrogen.errors import ConfigError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the settings in glibc's ``malloc.h``."""
KEPT = 1 << 30
LARGEST = 32 << 20
"""The largest block that glibc allocates from the heap; a larger one is mapped at each allocation."""

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


@cache
def retain_heap() -> bool:
    """Let glibc keep up to 1 GiB of freed memory; return whether it does now.

    By default it returns the end of its heap to the kernel whenever a large block there is freed, so that thousands of
    pages are mapped and cleared again for each convolutional step, which can be a third of its time
    (`docs/performance.md`). The setting is that of the whole process. Where ``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES`` is set, and without glibc, it does nothing.
    """
    chosen = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in chosen):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(TRIM_THRESHOLD, KEPT) and libc.mallopt(MMAP_THRESHOLD, LARGEST))
