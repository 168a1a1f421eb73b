"""Several processes that train one model: ``torch.distributed`` where a batch is shared out.

    L = Σ_r (n_r / B) L_r        ∇L = Σ_r (n_r / B) ∇L_r

Weights are the same in every process. Rank r computes the loss L_r of its n_r rows as that of a subsample of the batch
of B rows: a mean over rows, or a sum whose data plate is scaled by B / n_r. Gradients and logged scalars are averaged
with the weights n_r / B, so the update is that of one process with the whole batch.

Without a process group, and outside ``sharing``, every function here leaves its argument as it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pyrogen.errors import ConfigError, RunError, UserError

_LOST = re.compile(r"gloo|NCCL|connection (closed|reset|refused)|timed? ?out|broken pipe|socket", re.IGNORECASE)


def world() -> int:
    """The number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; process 0 alone writes files."""
    return dist.get_rank() if world() > 1 else 0


def stream() -> tuple[int, ...]:
    """What follows the name of a random stream of which each process has its own; nothing for one process."""
    return (rank(),) if world() > 1 else ()


@dataclass(frozen=True)
class Share:
    """The part of a batch that a process computes.

    Args:
        rows: the number of its rows, n_r.
        total: that of the batch, B.
    """

    rows: int
    total: int

    @property
    def weight(self) -> float:
        """n_r / B."""
        return self.rows / self.total


_shares: list[Share] = []


def share() -> Share | None:
    """The part of a batch that is being computed; ``None`` if there is one process, or outside ``sharing``."""
    return _shares[-1] if _shares else None


def part(rows: int) -> slice:
    """Which of the rows of a batch belong to this process: consecutive ones, in parts as even as possible.

    Raises:
        ConfigError: if there are fewer rows than processes.
    """
    if rows < world():
        raise ConfigError(f"a batch of {rows} rows cannot be shared out among {world()} processes")
    return slice(rows * rank() // world(), rows * (rank() + 1) // world())


@contextmanager
def sharing(rows: int, total: int) -> Iterator[None]:
    """Average gradients over the processes inside; each has ``rows`` of the ``total`` rows of the batch."""
    if world() == 1:
        yield
        return
    _shares.append(Share(rows, total))
    try:
        yield
    finally:
        _shares.pop()


@contextmanager
def connected() -> Iterator[None]:
    """Raise ``RunError`` in place of an error of the connection to the other processes."""
    try:
        yield
    except UserError:
        raise
    except RuntimeError as error:
        if world() == 1 or not _LOST.search(str(error)):
            raise
        raise RunError(
            f"process {rank()} of {world()} lost the connection to the others: one of them has ended, which its own "
            f"message explains, or does not answer ({' '.join(str(error).split())[:160]})"
        ) from error


def average(tensors: Sequence[Tensor], losses: Sequence[Tensor | float] = ()) -> Tensor | None:
    """Replace gradients by their averages over the processes, in place, with the weights of their shares.

    Args:
        tensors: the parameters, the same ones in every process; a gradient that is missing in some counts as 0 there.
        losses: numbers that are added up over the processes, so that all see one that is not finite.

    Returns:
        The sum of ``losses``; ``None`` outside ``sharing``.

    Raises:
        ConfigError: for a sparse gradient.
    """
    mine = share()
    if mine is None:
        return None
    first = next((p for p in tensors), torch.zeros(()))
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for p in tensors:
        if p.grad is not None and p.grad.is_sparse:
            raise ConfigError(f"a sparse gradient, of shape {tuple(p.shape)}, cannot be averaged over processes")
        groups.setdefault((p.device, p.dtype), []).append(p)
    known = [p.grad is not None for p in tensors]
    values = [torch.as_tensor(loss, dtype=torch.float32, device=first.device).detach().sum() for loss in losses]
    marks = torch.ones(len(known), device=first.device) if all(known) else torch.tensor(known).to(first.device)
    head, sent = torch.cat([sum(values, torch.zeros_like(marks.sum()))[None].float(), marks.float()]), False
    for (_, dtype), parameters in groups.items():
        pieces = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.reshape(-1) for p in parameters]
        joined = not sent and dtype in (torch.float32, torch.float64)  # one message less
        flat = torch.cat([*pieces, head.to(dtype)] if joined else pieces)
        flat[: sum(map(len, pieces))] *= mine.weight
        dist.all_reduce(torch.view_as_real(flat) if flat.is_complex() else flat)
        *parts, rest = flat.split([*map(len, pieces), len(head) if joined else 0])
        head, sent = (rest.float(), True) if joined else (head, sent)
        for p, part_of_it in zip(parameters, parts, strict=True):
            # In the layout of the weight: a fused optimiser walks over both in the order of memory.
            new = part_of_it.view(p.shape)
            p.grad = new if p.is_contiguous() else torch.empty_like(p).copy_(new)
    if not sent:
        dist.all_reduce(head)
    for p, somewhere in zip(tensors, () if all(known) else head[1:].tolist(), strict=False):
        if not somewhere:
            p.grad = None
    return head[0]


def mean(logs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logged scalars as those of the whole batch: means over the processes with the weights of their shares."""
    mine = share()
    if mine is None or not logs:
        return dict(logs)
    values = [torch.as_tensor(value).detach() for value in logs.values()]
    dtype = torch.float64 if values[0].device.type == "cpu" else torch.float32
    found = torch.stack([value.to(values[0].device, dtype) for value in values]) * mine.weight
    dist.all_reduce(found)
    return {name: new.to(old.dtype) for name, new, old in zip(logs, found, values, strict=True)}


def total(x: Tensor) -> Tensor:
    """The sum of a tensor over the processes, differentiable any number of times.

    For what is no mean over the rows of a batch, such as a mean inside a norm: each process computes the same loss.

    Raises:
        ConfigError: if it is differentiated and the parts of the batch differ in size.
    """
    mine = share()
    if mine is None:
        return x
    if x.requires_grad and mine.rows * world() != mine.total:
        raise ConfigError(
            f"batches of {mine.total} rows cannot be shared out evenly among {world()} processes, which statistics "
            f"over a batch, such as those of BatchNorm, need: choose a batch size that is a multiple of {world()}"
        )
    if type(x) is not Tensor:  # but a stand-in, of which a graph is made
        raise ConfigError("statistics over several processes cannot be part of a compiled graph")
    out: Tensor = _Total.apply(x)
    return out


class _Total(torch.autograd.Function):
    """The sum over processes, which is its own adjoint; that of torch.distributed is deprecated."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        out: Tensor = _Total.apply(gradient)
        return out


def batch_mean(x: Tensor) -> Tensor:
    """A mean over rows of this process as that over the whole batch, differentiable."""
    mine = share()
    return x if mine is None else total(x * mine.weight)


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in the order of the batch, ``(B, …)`` from ``(n_r, …)``, differentiable."""
    mine = share()
    if mine is None:
        return x
    here = part(mine.total)
    before, after = here.start, mine.total - here.stop
    return total(torch.cat([x.new_zeros(before, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])]))


def batch_size(rows: int) -> int:
    """The number of rows of the whole batch, by that of this process, which may be a multiple of its share."""
    mine = share()
    return rows if mine is None else rows * mine.total // mine.rows


def of_first(x: Tensor) -> Tensor:
    """The tensor of process 0, for what is drawn at random and must be the same in all."""
    if share() is not None:
        dist.broadcast(x := x.clone(), 0)
    return x
