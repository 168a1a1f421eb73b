"""The trade-off of a bottleneck: the error of reconstructions against the size of codes, beside PCA.

    e(d) = E ‖x - g(f(x))‖² / D,   f(x) of d numbers, D the size of a datum

PCA has the least error of all linear codes of each size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.protocols import Score
from pyrogen.reconstruction.pca import PCA
from pyrogen.use.codes import encode, reconstruct


@dataclass(frozen=True)
class Bottleneck:
    """One point of the curve.

    Args:
        size: d, the numbers in the code of a datum.
        error: the mean squared error per dimension on test data.
        pca: that of PCA with d components; ``None`` if codes are larger than data, or than there are training data.
    """

    size: int
    error: Score
    pca: Score | None


def bottleneck_curve(models: Iterable[Any], data: Dataset, seed: int = 0) -> list[Bottleneck]:
    """The error of reconstructions of test data by models with codes of different sizes, in order of their size.

    Args:
        models: models with continuous codes, trained on ``data``.
        data: whose training data PCA is fitted to.
        seed: of the noise in the training data.

    Raises:
        ConfigError: for a model without codes, or with discrete ones.
    """
    x, *side = data.test.tensors(seed)[:2]
    train = data.train.tensors(seed)[0]
    found = []
    for model in models:
        code = encode(model, x[:1], *(y[:1] for y in side))
        if not code.is_floating_point():
            raise ConfigError(
                f"the codes of a {type(model).__name__} are discrete: their size is not a number of reals"
            )
        size, least = code[0].numel(), min(len(train), train[0].numel())
        error = reconstruction_score(lambda *rows, model=model: reconstruct(model, *rows), x, *side)
        pca = reconstruction_score(PCA.from_data(train, size).reconstruct, x) if size <= least else None
        found.append(Bottleneck(size, error, pca))
    return sorted(found, key=lambda point: point.size)
