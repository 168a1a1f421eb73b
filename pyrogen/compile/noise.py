"""Noise in the data by a compiled graph: one loop over a batch draws it and adds it."""

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrogen.compile.checked_graph import is_compared
from pyrogen.compile.verified import compilation
from pyrogen.data.noise import Draws, Stream, StreamedNoise

if TYPE_CHECKING:
    from pyrogen.compile.graph.aot_graph import Graph

log = logging.getLogger(__name__)


class CompiledNoise(StreamedNoise):
    """A noise that a compiled graph draws from a ``Stream`` and adds; the same data, bit for bit.

    At the 1st, 2nd, 4th, 8th … call the data are compared with those of the noise itself; if they differ, it is used in
    all later ones, as it is while not ``enabled`` and if its operations are not correctly rounded. ``fit`` uses it
    where the step is compiled; in a loop of your own:

    ```python
    source = batches(replace(data.train, noise=CompiledNoise(data.train.noise)), batch_size=256)
    ```

    Args:
        noise: what is compiled.
        enabled: whether a graph is used; may be set later.

    Attributes:
        refused: why no graph is used any more; ``None`` if there is no reason.
    """

    def __init__(self, noise: StreamedNoise, enabled: bool = True) -> None:
        self.noise, self.enabled = noise, enabled
        self.refused: str | None = None
        self._calls = 0
        self._key: tuple[object, ...] = ()
        self._graph: Graph | None = None

    @property
    def exact(self) -> bool:
        """Whether it consists of correctly rounded operations alone."""
        return self.noise.exact

    def __call__(self, stored: Tensor, draws: Draws) -> Tensor:
        """Return data in torch's default dtype, on the device of ``stored`` and ``draws``."""
        if not self.enabled or self.refused is not None or not isinstance(draws, Stream) or not self.exact:
            return self.noise(stored, draws)
        key = (
            stored.shape,
            stored.stride(),
            stored.dtype,
            stored.device,
            draws.key.shape,
            draws.row,
            torch.get_default_dtype(),
        )
        if key != self._key:
            self._key, self._calls = key, 0
        self._calls += 1
        # Before tracing, too: a constant that is computed once must not be computed while tracing.
        eager = self.noise(stored, draws) if is_compared(self._calls) else None
        try:
            if self._calls == 1:
                self._graph = self._compile(stored, draws)
            assert self._graph is not None
            (x,), _ = self._graph(stored, draws.key)
        except Exception as error:  # torch raises many kinds, such as one for a missing C++ compiler
            self._refuse(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
            return self.noise(stored, draws)
        if eager is not None and not torch.equal(x, eager):
            self._refuse("compiled code gives other data")
            return eager
        return x

    def _compile(self, stored: Tensor, draws: Stream) -> "Graph":
        from pyrogen.compile.graph.aot_graph import compile_function  # torch's tracer takes a second to import

        def draw(stored: Tensor, key: Tensor) -> tuple[Tensor]:
            return (self.noise(stored, Stream(key, draws.row)),)

        with compilation():
            return compile_function(draw, (stored, draws.key))

    def _refuse(self, why: str) -> None:
        self.refused, self._graph = why, None
        log.info("noise is drawn eagerly: %s", why)
