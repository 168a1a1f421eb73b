"""Grey levels and their probabilities, and the blocks in which data are coded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.errors import ConfigError

ROWS = 100
"""The data that are coded together: the networks see that many rows at a time."""
Words = NDArray[np.uint32]
Symbols = NDArray[np.int32]
Probs = NDArray[np.float32]


def to_model(levels: Tensor, space: Space) -> Tensor:
    """Grey levels as a model sees them: binary, or the middles of their cells."""
    x = levels.to(torch.get_default_dtype())
    return x if space.support == "binary" else (x + 0.5) / space.levels


def level_probs(fn: Any, space: Space) -> Tensor:
    """The probability of every level under a distribution of single values, ``(*batch, levels)``.

    Raises:
        ConfigError: for a density other than a normal, or one that is constant on the cells of grey levels.
    """
    if space.support == "binary":
        p = fn.log_prob(torch.ones(fn.batch_shape)).exp()
        return torch.stack([1 - p, p], -1).float()
    count = space.levels
    if isinstance(fn, torch.distributions.Normal):
        edges = torch.arange(1, count) / count
        below = fn.cdf(edges.view(-1, *(1,) * len(fn.batch_shape)).expand(-1, *fn.batch_shape))
        ends = torch.zeros(1, *fn.batch_shape), torch.ones(1, *fn.batch_shape)
        masses = torch.cat([ends[0], below, ends[1]]).diff(dim=0)
    else:
        component = getattr(fn, "component_distribution", fn)
        if getattr(component, "levels", 0) != count:
            raise ConfigError(f"a {type(component).__name__} over grey levels has no mass for compression")
        middles = (torch.arange(count) + 0.5) / count
        masses = torch.stack([fn.log_prob(m.expand(fn.batch_shape)) for m in middles]).exp() / count
    return masses.movedim(0, -1).float()


def categorical() -> Any:
    """The family of distributions over symbols with given probabilities."""
    from constriction import stream

    return stream.model.Categorical(perfect=False)


def blocks(n: int) -> Iterator[int]:
    """The numbers of rows of the blocks of n data."""
    for start in range(0, n, ROWS):
        yield min(ROWS, n - start)
