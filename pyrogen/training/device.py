"""The device and the precision of computation."""

from contextlib import AbstractContextManager, nullcontext

import torch

from pyrogen.errors import ConfigError, unknown

PRECISIONS = ("32", "bf16")


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ConfigError: for an unknown name, or CUDA where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise unknown("device", name, ("auto", "cpu", "cuda"))
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r} is not available: torch finds {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which networks compute in ``precision``: ``32`` as they are, ``bf16`` mixed.

    Weights stay float32, and so do the sums of a likelihood: models of the library leave bfloat16
    before they build a distribution. Casts are not cached, because a step may use a weight again after
    it has updated it: a generator is trained against the critic that was just updated.

    Raises:
        ConfigError: for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
