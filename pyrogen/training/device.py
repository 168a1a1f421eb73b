"""The device and the precision of computation."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from pyrogen.errors import ConfigError, unknown

PRECISIONS = ("32", "bf16", "tf32", "bf16-products")


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:1``; ``gpu`` is ``cuda``.

    Raises:
        ConfigError: for an unknown name, or CUDA where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    kind = "cuda" if kind == "gpu" else kind
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise unknown("device", name, ("auto", "cpu", "cuda"))
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r} is not available: torch finds {torch.cuda.device_count()} CUDA devices")
    return torch.device(f"{kind}:{index}" if index else kind)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which networks compute in ``precision``.

    ``32``: float32. ``bf16``: mixed precision; weights stay float32, and so do the sums of a likelihood, because models
    of the library leave bfloat16 before they build a distribution. Casts are not cached, because a step may use a
    weight again after it has updated it: a generator is trained against the critic that was just updated.

    ``tf32`` (GPU) and ``bf16-products`` (CPU): all tensors are float32, and matrix products and convolutions round
    their factors to TF32 or bfloat16, with a relative error of 2⁻¹¹ or 2⁻⁹ each, and sum the products in float32.

    Raises:
        ConfigError: for an unknown precision, or one that the device does not have.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "32":
        return nullcontext()
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    if (precision == "tf32") != (device.type == "cuda"):
        raise ConfigError(
            f"precision 'tf32' is for a GPU, 'bf16-products' for a CPU; got {precision!r} on {device.type}"
        )
    if precision == "bf16-products" and not torch.cpu._is_amx_tile_supported():
        raise ConfigError(
            "precision 'bf16-products' needs a CPU with matrix instructions for bfloat16 (AMX), which this one lacks: "
            "use '32', or 'bf16' for mixed precision"
        )
    return _rounded_products(precision.removesuffix("-products"), device)


@contextmanager
def _rounded_products(factors: str, device: torch.device) -> Iterator[None]:
    """Set how torch rounds the factors of float32 products, and restore its settings afterwards."""
    backends: Any = torch.backends
    cuda = (backends.cuda.matmul, backends.cudnn.conv)
    places = cuda if device.type == "cuda" else (backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = factors
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
