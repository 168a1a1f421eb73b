"""Batches read by a compiled graph: one loop over the data gathers the rows, draws the noise and adds it."""

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrogen.compile.verified import compilation
from pyrogen.data.dataset import Split
from pyrogen.data.noise import Draws, Stream, StreamedNoise
from pyrogen.data.step_arguments import Batch

if TYPE_CHECKING:
    from pyrogen.compile.graph.aot_graph import Graph

log = logging.getLogger(__name__)


class CompiledReading:
    """``Split.read`` as a compiled graph, for ``batches(…, read=CompiledReading())``; the same data, bit for bit.

    Rows are read eagerly if they are not in memory, if they are the data, if a function of the user computes side
    information, or if the noise is not a ``StreamedNoise`` of correctly rounded operations. At the 1st, 2nd, 4th,
    8th … call the data are compared with those that are read eagerly; if they differ, all later ones are read eagerly.

    Attributes:
        enabled: whether graphs are used.
        refused: why no graph is used any more; ``None`` if there is no reason.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.refused: str | None = None
        self._calls = 0
        self._split: Split | None = None
        self._shape: tuple[object, ...] = ()
        self._graph: Graph | None = None

    def __call__(self, split: Split, index: Tensor, draws: Draws) -> Batch:
        """The rows at ``index``, as ``Split.read`` returns them."""
        if not self.enabled or self.refused is not None or not isinstance(draws, Stream) or not _is_exact(split):
            return split.read(index, draws)
        shape = len(index), draws.row, torch.get_default_dtype()
        if self._graph is None or split is not self._split or shape != self._shape:
            self._split, self._shape, self._calls = split, shape, 0
        self._calls += 1
        compared = self._calls & (self._calls - 1) == 0  # at the 1st, 2nd, 4th, 8th … call
        # Before tracing, too: a constant that is computed once must not be computed while tracing.
        eager = split.read(index, draws) if compared else None
        try:
            if self._calls == 1:
                self._graph = _compile(split, index, draws)
            assert self._graph is not None
            batch, _ = self._graph(index, draws.key)
        except Exception as error:  # torch raises many kinds, such as one for a missing C++ compiler
            self._refuse(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
            return split.read(index, draws)
        if eager is not None and not all(map(torch.equal, batch, eager)):
            self._refuse("compiled code reads other data")
            return eager
        return batch

    def _refuse(self, why: str) -> None:
        self.refused, self._graph = why, None
        log.info("batches are read eagerly: %s", why)


def _is_exact(split: Split) -> bool:
    """Whether compiled code reads the same rows bit for bit, and nothing else happens when they are read."""
    noise = split.noise
    exact = noise is None or (isinstance(noise, StreamedNoise) and noise.exact)
    return exact and split.side_fn is None and isinstance(split.x, Tensor)


def _compile(split: Split, index: Tensor, stream: Stream) -> "Graph":
    from pyrogen.compile.graph.aot_graph import compile_function  # torch's tracer takes a second to import

    def read(index: Tensor, key: Tensor) -> Batch:
        return split.read(index, Stream(key, stream.row))

    with compilation():
        return compile_function(read, (index, stream.key))
