"""Where values that are not finite arise: every operation of a computation is watched, forward and backward."""

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyrogen.compile.verified import LIBRARY_PATHS

KINDS = ("data", "weight", "operation", "constant")
"""What an origin can be; of several inputs of an operation the first kind in this order is followed."""
_UNSET = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
_FRAME = re.compile(r'File "(.+)", line (\d+)')


@dataclass
class Origin:
    """The first value that is not finite on the way to another one.

    Args:
        kind: one of ``KINDS``.
        name: of the argument, of the weight, or of the operation, e.g. ``log``.
        dtype: of the value.
        derivative: whether the operation is that of a derivative; ``name`` is then that of the forward operation.
        line: the user's line of code, ``" (model.py, line 12)"``; empty if it is not known.
        rows: the positions in the batch where the value is not finite; ``None`` as long as no value has rows.
    """

    kind: str
    name: str
    dtype: torch.dtype
    derivative: bool = False
    line: str = ""
    rows: list[int] | None = None


class WatchOrigins(TorchDispatchMode):
    """Keeps the origin of every value that is not finite; slow, as every result is read.

    Args:
        named: the data and the weights, ``{(kind, name): tensor}``.
        rows: the number of rows of the batch; ``None`` if it has none.
    """

    def __init__(self, named: Mapping[tuple[str, str], Tensor], rows: int | None) -> None:
        TorchDispatchMode.__init__(self)
        self.rows = rows
        self.latest: Origin | None = None
        self._named = {id(t): key for key, t in named.items()}
        self._known: dict[int, Origin] = {}
        self._kept: list[Tensor] = []  # an id is that of one tensor only while the tensor lives
        self._outside = len(traceback.extract_stack())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note whether its results are finite."""
        given = [origin for t in tree_leaves((args, kwargs)) if (origin := self.origin(t)) is not None]
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        for tensor in tree_leaves(result):
            if not isinstance(tensor, Tensor):
                continue
            self._known.pop(id(tensor), None)
            if name not in _UNSET and not is_finite(tensor):
                self._note(tensor, min(given, key=lambda o: KINDS.index(o.kind)) if given else self._new(name, tensor))
        return result

    def origin(self, value: Any) -> Origin | None:
        """The origin of a value that is not finite; ``None`` for other values."""
        if not isinstance(value, Tensor):
            return None
        if id(value) not in self._known and not is_finite(value):
            kind, name = self._named.get(id(value), ("constant", "a constant"))
            self._note(value, Origin(kind, name, value.dtype))
        return self._known.get(id(value))

    def _note(self, tensor: Tensor, origin: Origin) -> None:
        if origin.rows is None and origin.kind != "weight" and self.rows:
            origin.rows = broken_rows(~tensor.detach().isfinite(), self.rows)
        self._known[id(tensor)] = self.latest = origin
        self._kept.append(tensor)

    def _new(self, name: str, tensor: Tensor) -> Origin:
        node: Any = torch._C._current_autograd_node()
        if node is not None:
            frames = _FRAME.findall("".join(node.metadata.get("traceback_", ())))
            forward = re.sub(r"Backward\d*$", "", node.name()).lower()
            return Origin("operation", forward, tensor.dtype, True, user_line(frames))
        stack = traceback.extract_stack()[self._outside :]
        kind = "constant" if name in ("full", "full_like", "lift_fresh", "scalar_tensor") else "operation"
        return Origin(kind, name.strip("_"), tensor.dtype, line=user_line([(f.filename, f.lineno) for f in stack]))


def user_line(frames: Sequence[tuple[str, Any]]) -> str:
    """The innermost of ``(file, line)`` that is not in torch, Pyro or this library, as ``" (model.py, line 12)"``."""
    own = [frame for frame in frames if not frame[0].startswith(LIBRARY_PATHS)]
    return f" ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else ""


def is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite; true of integers."""
    floating = tensor.is_floating_point() or tensor.is_complex()
    return not floating or tensor.is_sparse or bool(tensor.detach().isfinite().all())


def broken_rows(broken: Tensor, rows: int) -> list[int] | None:
    """The positions in the batch where ``broken`` is true; ``None`` if no dimension has the size of the batch.

    Args:
        broken: Boolean; its first dimension may be a multiple of ``rows``, as particles are copies of the batch.
        rows: the size of the batch.
    """
    if broken.ndim and len(broken) > rows and len(broken) % rows == 0 and rows > 1:
        broken = broken.unflatten(0, (-1, rows))
    dim = next((i for i, size in enumerate(broken.shape) if size == rows), None)
    if dim is None:
        return None
    found: list[int] = broken.movedim(dim, 0).reshape(rows, -1).any(1).nonzero().flatten().tolist()
    return found or None
