"""The guard of an update: it is not made unless the loss and all gradients are finite."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from pyrogen import ranks
from pyrogen.errors import Diverged

READ_EVERY = 50
"""The number of updates between two readings of the flag on a GPU."""


class Guard:
    """Prevents updates by a loss or gradients that are not finite, so that weights and optimiser state stay finite.

    On a CPU ``Diverged`` is raised in place of the update. On a GPU the program does not wait for the result: a flag is
    set there and stays set. While it is set, torch's fused optimisers change nothing, and any other optimiser gets
    gradients of zero. The flag is read by ``read`` and in every ``READ_EVERY``-th update.

    Attributes:
        faults: how often the flag was set.
    """

    def __init__(self) -> None:
        self.faults = 0
        self._flags: tuple[Tensor, Tensor] | None = None  # 1 after the first fault, the number of updates since then
        self._updates: list[int] = []  # the step of each update since the flag was read

    def update(self, optimizer: Optimizer, losses: Iterable[Tensor | float], t: int, step: Callable[[], Any]) -> None:
        """Call ``step``, which updates the parameters of ``optimizer``, if ``losses`` and gradients are finite.

        On several processes the gradients are averaged first, and all of them see what is not finite in one.

        Args:
            optimizer: its parameters hold their gradients.
            losses: the scalars that were differentiated.
            t: the number of the training step, from 1.
            step: ``optimizer.step``, or a function that calls it.

        Raises:
            Diverged: naming the first loss that is not finite, or the shape of a parameter whose gradient is not.
        """
        losses = list(losses)
        summed = ranks.average([p for group in optimizer.param_groups for p in group["params"]], losses)
        losses = losses if summed is None else [summed]
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        found = [value for value in losses if isinstance(value, Tensor)]
        if on_cpu([*found, *gradients]):
            check_finite_update(losses, gradients, t)
            _unfuse(optimizer)
            step()
            return
        flag = self._mark([*found, *gradients], t)
        if _obeys_flag(optimizer):
            optimizer.found_inf = flag  # type: ignore[attr-defined]
        else:
            for gradient in gradients:
                _entries(gradient).masked_fill_(flag.bool(), 0.0)
        step()
        if len(self._updates) >= READ_EVERY:
            self.read()

    def read(self) -> None:
        """Wait for the device and raise ``Diverged`` if an update was prevented since the last call."""
        if self._flags is None:
            return
        prevented, updates = int(self._flags[1]), self._updates
        self._updates = []
        if prevented:
            self._clear(self._flags)
            t = updates[-prevented]
            raise Diverged(f"step {t}: the loss or a gradient is not finite", ago=updates[-1] - t)

    def is_elsewhere(self, device: torch.device) -> bool:
        """Whether the flag is on another device, where it may be set without having been read."""
        return self._flags is not None and waits(self._flags[0]) and self._flags[0].device != device

    def flags(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The flag, and the number of updates that it has prevented, to be read and written by a graph on ``device``.

        They are made there unless they are in use on another device.
        """
        if self._flags is None or not (waits(self._flags[0]) or self._flags[0].device == device):
            self._flags = torch.zeros((), device=device), torch.zeros((), device=device)
        return self._flags

    def note(self, losses: Iterable[Tensor], gradients: Iterable[Tensor], t: int) -> None:
        """Note that a graph has made the update of step ``t``, unless its flag was set, which is read as in ``update``.

        Raises:
            Diverged: as ``update``.
        """
        assert self._flags is not None
        if waits(self._flags[0]):
            self._updates.append(t)
            if len(self._updates) >= READ_EVERY:
                self.read()
        elif self._flags[0].item():
            self._clear(self._flags)
            check_finite_update(losses, gradients, t)

    def _clear(self, flags: tuple[Tensor, Tensor]) -> None:
        for flag in flags:
            flag.zero_()
        self.faults += 1

    def _mark(self, values: list[Tensor], t: int) -> Tensor:
        """Set the flag if a value is not finite; nothing is read from the device."""
        flag, prevented = self.flags(next((v.device for v in values if waits(v)), values[0].device))
        groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for value in map(_entries, values):
            groups.setdefault((value.device, value.dtype), []).append(value)
        for (device, _), group in groups.items():  # the check of torch's GradScaler, which has no public name
            here = flag if device == flag.device else torch.zeros((), device=device)
            torch._amp_foreach_non_finite_check_and_unscale_(group, here, torch.ones((), device=device))
            if here is not flag:
                torch.maximum(flag, here.to(flag.device), out=flag)
        prevented += flag
        self._updates.append(t)
        return flag


def on_cpu(values: Iterable[Tensor]) -> bool:
    """Whether values can be read without waiting for a device."""
    return not any(map(waits, values))


def waits(value: Tensor) -> bool:
    """Whether reading a value waits for a device."""
    return value.device.type != "cpu"


def read_guard(step: Any) -> None:
    """Raise ``Diverged`` if the guard of a step, if it has one, has prevented an update; waits for the device."""
    guard = getattr(step, "guard", None)
    if isinstance(guard, Guard):
        guard.read()


def check_finite_update(losses: Iterable[Tensor | float], gradients: Iterable[Tensor], t: int) -> None:
    """Raise ``Diverged`` unless all losses and gradients, which are on a CPU, are finite."""
    for loss in losses:
        value = loss.item() if isinstance(loss, Tensor) else loss
        if not isfinite(value):
            raise Diverged(f"step {t}: the loss is {value}")
    # A sum that is finite has finite terms, and costs a tenth of a mask; one that is not may have overflowed.
    gradients = list(gradients)
    if isfinite(sum([abs(gradient.sum().item()) for gradient in gradients])):
        return
    for gradient in gradients:
        if not bool(_entries(gradient).isfinite().all()):
            raise Diverged(f"step {t}: the gradient of a parameter of shape {tuple(gradient.shape)} is not finite")


def _entries(value: Tensor) -> Tensor:
    """The stored entries of a tensor, as real numbers."""
    value = value.detach()
    if value.is_sparse:
        value = value.coalesce().values()
    return torch.view_as_real(value) if value.is_complex() else value


def _unfuse(optimizer: Optimizer) -> None:
    """Leave torch's fused update for groups with a weight whose memory layout is not that of its gradient and state.

    It iterates over all of them in memory order, and would update a weight whose ``data`` was replaced by a slice or a
    transposed tensor by the gradients of other entries.
    """
    for group in optimizer.param_groups:
        if group.get("fused") and not all(_is_aligned(p, optimizer.state.get(p, {})) for p in group["params"]):
            group["fused"] = False


def _is_aligned(p: Tensor, state: Mapping[str, Any]) -> bool:
    same = (p, p.grad, *state.values())
    return len({t.stride() for t in same if isinstance(t, Tensor) and t.shape == p.shape}) == 1


def _obeys_flag(optimizer: Optimizer) -> bool:
    """Whether the optimiser has the fused update that reads ``found_inf`` on the device."""
    return type(optimizer) in (SGD, Adam, AdamW) and all(group.get("fused") for group in optimizer.param_groups)
