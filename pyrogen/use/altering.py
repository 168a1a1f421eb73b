"""Altering attributes of data by moving their codes.

    z ← z + α (z̄_t - z)           towards the mean code z̄_t of data that have the attribute
    z ← z + α (z̄_t - z̄_o)         along the direction from the data that lack it to those that have it

The first moves every datum towards one point, and at α = 1 all become that point; the second keeps the differences
between data (Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML 2016).
"""

from typing import Any

from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.use.codes import decode, encode


def alter(
    model: Any,
    x: Tensor,
    having: Tensor,
    lacking: Tensor | None = None,
    *,
    alpha: float = 1.0,
    y: Tensor | None = None,
) -> Tensor:
    """Alter data towards an attribute that is given by examples; ``(n, *event)``, in model coordinates.

    Args:
        model: a model with codes.
        x: the data, ``(n, *event)``.
        having: examples that have the attribute, ``(m, *event)``.
        lacking: examples that lack it; then the data move along the difference of the mean codes.
        alpha: α: 0 leaves the codes, 1 moves them by the whole difference, and further is possible.
        y: side information of a conditional model, one row for all data and examples.

    Raises:
        ConfigError: if the model has no codes, its codes are discrete, or for no examples.
    """
    z = encode(model, x, _rows(y, x))
    if not z.is_floating_point():
        raise ConfigError(f"the codes of a {type(model).__name__} are discrete: they cannot be moved")
    target = mean_code(model, having, y)
    away = z if lacking is None else mean_code(model, lacking, y)
    return decode(model, z + alpha * (target - away), _rows(y, x), like=x)


def mean_code(model: Any, examples: Tensor, y: Tensor | None = None) -> Tensor:
    """The mean code of examples, ``(latent,)``.

    Raises:
        ConfigError: for no examples, or a model without codes.
    """
    if not len(examples):
        raise ConfigError("expected at least one example of the attribute, got none")
    return encode(model, examples, _rows(y, examples)).mean(0)


def _rows(y: Tensor | None, x: Tensor) -> Tensor | None:
    """One row of side information for each datum."""
    return None if y is None else y[:1].expand(len(x), *y.shape[1:])
