"""What several processes tell each other beside gradients: numbers, texts, and whether their weights are the same."""

import zlib
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from pyrogen.errors import RunError, UserError
from pyrogen.ranks import connected, rank, world

SAME = 1e-4
"""The largest relative difference of a weight's sum of absolute values between processes with the same weights."""


@connected()
def greatest(*values: float) -> list[float]:
    """The greatest of each number over all processes, on which they then agree."""
    if world() == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def the_same(number: int, what: str) -> int:
    """The number, if all processes have the same one.

    Raises:
        RunError: naming the smallest and the greatest of ``what``, and what may be the cause.
    """
    most, least = greatest(number, -number)
    if most != -least:
        raise RunError(f"the {what} is {-least:.0f} in one process and {most:.0f} in another: is it one folder?")
    return number


def time_and_signal(used: float, signals: Sequence[int]) -> tuple[float, int]:
    """The time that process 0 has used, and the first signal that ends the run, 0 for none, the same in all."""
    used, signum = greatest(0.0 if rank() else used, signals[0] if signals else 0)
    return used, int(signum)


@connected()
def added(value: float) -> float:
    """The sum of a number over all processes."""
    found = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.all_reduce(found)
    return float(found)


@connected()
def from_first(function: Callable[[], str]) -> str:
    """What ``function`` returns in process 0, called there alone; its ``UserError`` is raised in all processes."""
    if world() == 1:
        return function()
    text, error = "", None
    if rank() == 0:
        try:
            text = function()
        except UserError as raised:
            error = raised
    failed = said_first(None if error is None else str(error))
    if failed is not None:
        raise error or RunError(failed)
    return said_first(text if rank() == 0 else None) or ""


@connected()
def said_first(text: str | None) -> str | None:
    """The text of the first process that has one; ``None`` if none has. All processes call it."""
    if world() == 1:
        return text
    content = bytearray((text or "").encode())
    (before,) = greatest(0 if text is None else world() - rank())  # the first process has the greatest number
    if not before:
        return None
    source = world() - int(before)
    (size,) = greatest(len(content) if rank() == source else 0)
    sent = torch.zeros(int(size), dtype=torch.uint8, device=_device())
    if size:
        if rank() == source:
            sent.copy_(torch.frombuffer(content, dtype=torch.uint8))
        dist.broadcast(sent, source)
    return bytes(sent.tolist()).decode()


@connected()
def copy_first(tensors: Sequence[Tensor]) -> None:
    """Copy the values of process 0 into the tensors of all, in place.

    Raises:
        RunError: if they have other shapes somewhere: the processes train different models.
    """
    if world() == 1:
        return
    shapes = zlib.crc32(repr([(tuple(t.shape), str(t.dtype)) for t in tensors]).encode())
    high, low = greatest(shapes, -shapes)
    if high != -low:
        raise RunError("the processes have models of different parameters: build the same one in each of them")
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for t in tensors:
        groups.setdefault((t.device, t.dtype), []).append(t)
    with torch.no_grad():
        for group in groups.values():
            flat = torch.cat([t.reshape(-1) for t in group]).to(_device())
            dist.broadcast(flat, 0)
            for t, values in zip(group, flat.split([t.numel() for t in group]), strict=True):
                t.copy_(values.view(t.shape))


@connected()
def check_same(named: Mapping[str, Tensor], t: int) -> None:
    """Raise ``RunError`` if a weight is not the same in all processes, up to rounding.

    A program that changes a buffer by the rows it sees, or trains a parameter outside the step, leads to that.
    """
    if world() == 1:
        return
    floats = {name: x for name, x in named.items() if x.is_floating_point()}
    sums = [x.detach().double().abs().sum().item() for x in floats.values()]
    high_low = greatest(*sums, *(-s for s in sums))
    for name, high, low in zip(floats, high_low, high_low[len(sums) :], strict=False):
        if not high + low <= SAME * abs(high):
            raise RunError(
                f"step {t}: {name} is not the same in all processes (its absolute values sum to {-low:.6g} and "
                f"{high:.6g}): it is changed by the rows of a process, and not by the optimiser of the step"
            )


def _device() -> torch.device:
    """Where the process group communicates."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
