"""The interfaces of models, steps and scores.

A model samples, a step learns, a loop repeats, a measure judges. A capability is the presence of a method: the
protocols are not base classes, and no method raises ``NotImplementedError``.

Arguments are passed by position, so an implementation may choose its parameter names.

Shapes: ``x`` is ``(batch, *event)``, float. ``y`` is side information, usually labels, ``long (batch,)``; ``None`` if
there is none. The optional attribute ``takes`` of a model, e.g. ``{"log_prob": 1}``, declares that a method must be
called with fewer arguments than its signature has. Unconditional models of the library have it, and raise
``ConfigError`` for a y that is not ``None``. A log-likelihood is in nats per datum, shape ``(batch,)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

Kind = Literal["exact", "lower_bound", "upper_bound", "estimate", "statistic"]


@runtime_checkable
class Sampler(Protocol):
    """A model that generates samples."""

    def sample(self, n: int, y: Tensor | None = None, /) -> Tensor:
        """Draw ``n`` data, shape ``(n, *event)``; conditional on ``y``, of ``n`` rows, if given."""
        ...


@runtime_checkable
class Density(Sampler, Protocol):
    """A tractable density or mass function."""

    def log_prob(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """Exact ``log p(x)`` (or ``log p(x | y)``) in nats, shape ``(batch,)``."""
        ...


@runtime_checkable
class Pair(Sampler, Protocol):
    """A Pyro model and its guide; the guide may be empty (maximum likelihood)."""

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The joint ``p(x, z)`` as a Pyro program ``model(x, y=None)``, with ``x`` observed inside one data plate."""
        ...

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The variational posterior ``q(z | x)`` as a Pyro program with the arguments of ``model``."""
        ...


@runtime_checkable
class LatentVariable(Pair, Protocol):
    """A latent-variable model with a Pyro pair, an encoder and a decoder."""

    def encode(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """The mean of ``q(z | x)``, shape ``(batch, latent)``."""
        ...

    def decode(self, z: Tensor, y: Tensor | None = None, /) -> Tensor:
        """The mean of ``p(x | z)``, shape ``(batch, *event)``."""
        ...


@runtime_checkable
class Reconstructing(Protocol):
    """An autoencoder; it need not sample."""

    def reconstruct(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """The reconstruction of ``x``, of the same shape."""
        ...


class Implicit(Sampler, Protocol):
    """A distribution defined by its samples ``generator(z)``, ``z ~ prior``.

    Not runtime-checkable: from Python 3.12 on, ``isinstance`` does not find the submodules of an ``nn.Module``.
    """

    @property
    def generator(self) -> nn.Module:
        """The network ``generator(z, y=None) -> x``."""
        ...

    def prior(self, n: int, /) -> Tensor:
        """Draw ``z``, shape ``(n, latent)``."""
        ...


class Stateful(Protocol):
    """An object whose state can be saved and restored: a network, step, optimiser or average."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore a state that ``state_dict`` returned."""
        ...


class Step(Stateful, Protocol):
    """A training step: one update of the parameters on a batch.

    Its state is sufficient for a bit-identical continuation: ``{"weights": {name: tensor}, …}``.
    """

    def __call__(self, *batch: Any, **kwargs: Any) -> Mapping[str, Tensor]:
        """Update on one batch, ``step(x)`` or ``step(x, y)``; return detached scalar tensors on the device."""
        ...

    def evaluate(self, *batch: Any, **kwargs: Any) -> Mapping[str, Tensor]:
        """Return the same scalars without an update of parameters, buffers or optimiser, the same at every call."""
        ...


NORMAL_QUANTILE = 1.959964
"""Of the standard normal at 97.5%: 95% lie within as many deviations."""


@dataclass(frozen=True, repr=False)
class Score:
    """A measured value with its standard error, kind and unit.

    Args:
        value: the number.
        stderr: its standard error over the data, in the same unit; 0 if there is none.
        kind: ``exact``, ``lower_bound``, ``upper_bound``, ``estimate`` or ``statistic``.
        unit: ``nats``, ``bits/dim``, ``accuracy``, …
        detail: further values needed to interpret the number: ``n``, ``k``, a bandwidth, a p-value, a note.
        limits: the ends of the 95% interval, where it is not the value and 1.96 standard errors on either side.
        values: what the test data contribute, ``(q,)``: a log-likelihood for each datum, or others whose mean has the
            part of the error that is due to the test data. Scores of two models on the same test data are paired by
            them.
    """

    value: float
    stderr: float
    kind: Kind
    unit: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[float, float] | None = field(default=None, repr=False, compare=False)
    values: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval, ``(low, high)`` in the unit of the value; ``None`` if the score has no error."""
        if self.limits is not None or not self.stderr:
            return self.limits
        return self.value - NORMAL_QUANTILE * self.stderr, self.value + NORMAL_QUANTILE * self.stderr

    def __str__(self) -> str:
        error = f" ± {self.stderr:.3g}" if self.stderr else ""
        return f"{self.value:.4g}{error} {self.unit} ({self.kind.replace('_', ' ')})"

    def __repr__(self) -> str:
        return f"<{self}>"

    def as_dict(self) -> dict[str, Any]:
        """A JSON object of value, error, kind and unit, the ``interval`` if there is one, and the details."""
        fixed: dict[str, Any] = {"value": self.value, "stderr": self.stderr, "kind": self.kind, "unit": self.unit}
        interval = {} if self.interval is None else {"interval": list(self.interval)}
        return fixed | interval | dict(self.detail)
