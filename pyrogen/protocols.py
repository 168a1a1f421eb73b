"""What models, steps and scores offer each other.

A model samples, a step learns, a loop repeats, a measure judges. A capability is the presence of a
method: nothing here is a base class, and nothing raises ``NotImplementedError``.

Arguments are passed by position, so an implementation may name its parameters as it likes.

Shapes: ``x`` is ``(batch, *event)``, float. ``y`` is side information, most often labels, ``long
(batch,)``; ``None`` where there is none. A model may declare by ``takes``, ``{"log_prob": 1, …}``, that a method is to
be given fewer arguments than its signature has; unconditional models of the library do, and refuse a y that is not
``None`` with a ``ConfigError``. A log-likelihood is in nats per datum, shape ``(batch,)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

Kind = Literal["exact", "lower_bound", "upper_bound", "estimate", "statistic"]


@runtime_checkable
class Sampler(Protocol):
    """Anything that draws data."""

    def sample(self, n: int, y: Tensor | None = None, /) -> Tensor:
        """Draw ``n`` data, shape ``(n, *event)``; with ``y`` of ``n`` rows, one for each row."""
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
    """A latent-variable model with a Pyro pair and a readable latent space."""

    def encode(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """The mean of ``q(z | x)``, shape ``(batch, latent)``."""
        ...

    def decode(self, z: Tensor, y: Tensor | None = None, /) -> Tensor:
        """The mean of ``p(x | z)``, shape ``(batch, *event)``."""
        ...


@runtime_checkable
class Reconstructing(Protocol):
    """An autoencoder: anything that gives back data through a bottleneck; it need not sample."""

    def reconstruct(self, x: Tensor, y: Tensor | None = None, /) -> Tensor:
        """What is left of ``x``, of the same shape."""
        ...


class Implicit(Sampler, Protocol):
    """A distribution known only through its samples ``generator(z)``, ``z ~ prior``.

    Not for ``isinstance``: from Python 3.12 on it does not see the networks that an ``nn.Module`` holds.
    """

    @property
    def generator(self) -> nn.Module:
        """The network ``generator(z, y=None) -> x``."""
        ...

    def prior(self, n: int, /) -> Tensor:
        """Draw ``z``, shape ``(n, latent)``."""
        ...


class Stateful(Protocol):
    """A network, a step, an optimiser, an average: anything whose state can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore what ``state_dict`` gave."""
        ...


class Step(Stateful, Protocol):
    """One update of learning.

    Its state is what an exact continuation needs, and no more: ``{"weights": {name: tensor}, …}``.
    """

    def __call__(self, *batch: Any, **kwargs: Any) -> Mapping[str, Tensor]:
        """Learn from one batch, ``step(x)`` or ``step(x, y)``; return detached scalars that still lie on the device."""
        ...

    def evaluate(self, *batch: Any, **kwargs: Any) -> Mapping[str, Tensor]:
        """The same scalars without learning: parameters, buffers and optimiser stay as they are."""
        ...


@dataclass(frozen=True)
class Score:
    """One measured value that says what it is.

    Args:
        value: the number.
        stderr: its standard error over the data, in the same unit; 0 where there is none.
        kind: ``exact``, ``lower_bound``, ``upper_bound``, ``estimate`` or ``statistic``.
        unit: ``nats``, ``bits/dim``, ``accuracy``, …
        detail: what is needed to read the number: ``n``, ``k``, a bandwidth, a p-value, a note.
    """

    value: float
    stderr: float
    kind: Kind
    unit: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        error = f" ± {self.stderr:.3g}" if self.stderr else ""
        return f"{self.value:.4g}{error} {self.unit} ({self.kind.replace('_', ' ')})"

    def as_dict(self) -> dict[str, Any]:
        """A JSON object; the details stand beside the four fixed fields."""
        return {"value": self.value, "stderr": self.stderr, "kind": self.kind, "unit": self.unit, **self.detail}
