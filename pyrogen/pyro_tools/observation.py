"""The distribution of data given latent variables, as one of single values."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.distributions import Normal

from pyrogen.errors import ConfigError


def single_values(fn: Any) -> Any:
    """A distribution without ``to_event``."""
    while hasattr(fn, "reinterpreted_batch_ndims"):
        fn = fn.base_dist
    return fn


class Observation:
    """A distribution of data as one of single values in the shape of the data.

    Args:
        fn: the distribution of an observed site.
        dim: of the data plate in a value of it, negative.
        shape: of the data, ``(n, *event)``.
    """

    def __init__(self, fn: Any, dim: int, shape: Sequence[int]) -> None:
        self.fn, self.dim, self.shape = single_values(fn), dim, tuple(shape)

    @property
    def mean(self) -> Tensor:
        """E[x], ``(n, *event)``."""
        return self._shaped(self._moment("mean"))

    @property
    def variance(self) -> Tensor:
        """The variance of every value, ``(n, *event)``."""
        return self._shaped(self._moment("variance"))

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-probability of every value in nats, ``(n, *event)``.

        Raises:
            ConfigError: if the values of a datum are dependent.
        """
        return self._shaped(self.fn.log_prob(self._value(x)))

    def convolved_log_prob(self, x: Tensor, noise: float) -> Tensor:
        """``log_prob`` of a value to which Gaussian noise of deviation ``noise`` is added, ``(n, *event)``.

        Raises:
            ConfigError: as ``log_prob``; or if the distribution is neither a Gaussian nor has such a method itself.
        """
        value = self._value(x)
        if isinstance(self.fn, Normal):
            deviation = (self.fn.variance + noise**2).sqrt()
            return self._shaped(Normal(self.fn.mean, deviation, validate_args=False).log_prob(value))
        if not hasattr(self.fn, "convolved_log_prob"):
            raise ConfigError(f"the density of a {type(self.fn).__name__} with added Gaussian noise is not known")
        return self._shaped(self.fn.convolved_log_prob(value, noise))

    def sample(self) -> Tensor:
        """Draw x, ``(n, *event)``."""
        return self._shaped(self.fn.sample())

    def _value(self, x: Tensor) -> Tensor:
        """Data as a value of the site."""
        if self.fn.event_shape:
            raise ConfigError(f"the values of a datum are dependent given z: they are one {type(self.fn).__name__}")
        return x.reshape(len(x), *self._other).movedim(0, self.dim)

    @property
    def _other(self) -> tuple[int, ...]:
        """The shape of a value without its data dimension."""
        whole = list((*self.fn.batch_shape, *self.fn.event_shape))
        del whole[self.dim]
        return tuple(whole)

    def _shaped(self, value: Tensor) -> Tensor:
        return value.movedim(self.dim, 0).reshape(self.shape)

    def _moment(self, name: str) -> Tensor:
        try:
            moment: Tensor = getattr(self.fn, name)
        except NotImplementedError:
            raise ConfigError(f"the observed {type(self.fn).__name__} has no {name}") from None
        return moment
