"""Lower bounds of the time of a training step on a device, from what the device was measured to do.

arithmetic   floating-point operations of products and convolutions / rate of a large product
memory       28 bytes for each weight / bandwidth: Adam reads weight, gradient and two moments, and writes three
launches     operators of the eager step × time of an empty one: a bound for code that is neither fused nor recorded
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pyrogen.bench.timing import seconds_per_call

ADAM_BYTES = 28
"""Bytes that Adam reads and writes for each float32 weight."""
SIDE = {"cpu": 1024, "cuda": 8192}
"""The side of the matrices whose product is timed, by type of device."""
WORDS = {"cpu": 2**24, "cuda": 2**28}
"""The float32 numbers that are copied."""
LAUNCHES, SECONDS = 1000, 0.1
"""Empty operators between two waits for the device, and the least time of each measurement."""
_ALLOCATIONS = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::detach")


@dataclass(frozen=True)
class Rates:
    """What a device was measured to do: operations and bytes per second, and the seconds of an empty operator."""

    flops: float
    bandwidth: float
    launch: float


@dataclass(frozen=True)
class Floors:
    """Lower bounds of a step in microseconds, and the counts they follow from."""

    arithmetic: float
    memory: float
    launches: float
    flops: int
    weights: int
    operators: int


def measure(device: torch.device) -> Rates:
    """Measure a device: a product of large float32 matrices, a copy of a large tensor, an addition to one number."""
    n, words = SIDE[device.type], WORDS[device.type]
    a, b, out = (torch.ones(n, n, device=device) for _ in range(3))
    source, target = (torch.ones(words, device=device) for _ in range(2))
    one = torch.zeros((), device=device)

    def add() -> None:
        for _ in range(LAUNCHES):
            one.add_(1)

    return Rates(
        flops=2 * n**3 / seconds_per_call(lambda: torch.mm(a, b, out=out), SECONDS),
        bandwidth=8 * words / seconds_per_call(lambda: target.copy_(source), SECONDS),
        launch=seconds_per_call(add, SECONDS) / LAUNCHES,
    )


def floors(step: Callable[[], Any], rates: Rates) -> Floors:
    """The lower bounds of an eager training step with torch's fused Adam.

    Args:
        step: makes one step; it has run before.
        rates: of the device.
    """
    with _Operators() as met:  # type: ignore[no-untyped-call]
        step()
    return Floors(
        arithmetic=1e6 * met.flops / rates.flops,
        memory=1e6 * ADAM_BYTES * met.weights / rates.bandwidth,
        launches=1e6 * rates.launch * met.count,
        flops=met.flops,
        weights=met.weights,
        operators=met.count,
    )


class _Operators(TorchDispatchMode):
    """Counts operators that compute something, their floating-point operations, and the weights that Adam updates.

    Views and allocations are not counted, nor the operations of entry-wise operators.
    """

    count = weights = flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and count it."""
        self.count += not (func.is_view or func._schema.name in _ALLOCATIONS)
        if func._schema.name == "aten::_fused_adam_":
            self.weights += sum(weight.numel() for weight in args[0])
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out
