"""The number of statistically different bins.

Richardson and Weiss, "On GANs and GMMs", NeurIPS 2018.
"""

from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.errors import ConfigError
from pyrogen.protocols import Score
from pyrogen.random import derive, random_rows

CLUSTERED_ROWS = 20_000
"""The most training rows that determine the centres of the bins; shares are those of all rows."""
ROWS_PER_BIN = 20
"""The fewest training rows per bin on average, which limits the number of bins by default."""
NULL_DRAWS = 200
"""The number of draws from which the expected number of different bins is computed."""


class Bins:
    """The k-means cells of training data, with the number of training rows in each.

    Args:
        train: ``(n, *event)``.
        bins: the number of cells; by default 100, or one for each 20 rows if that is less.
        seed: of the rows and starts of k-means.

    Raises:
        ConfigError: for fewer than two bins or more than there are rows.
        DataError: for fewer than two rows, or values that are not finite.
    """

    def __init__(self, train: Tensor, bins: int | None = None, seed: int = 0) -> None:
        from sklearn.cluster import KMeans

        check_sets("ndb", 2, train=train)
        k = bins if bins is not None else max(2, min(100, len(train) // ROWS_PER_BIN))
        if not 2 <= k <= len(train):
            raise ConfigError(f"ndb: expected 2 to {len(train)} bins, one training row each at least; got {k}")
        rows = random_rows(train, CLUSTERED_ROWS, seed, "ndb").flatten(1).float().cpu().numpy()
        means = KMeans(k, n_init=1, max_iter=100, random_state=derive(seed, "ndb") % 2**32).fit(rows)
        self.centres = torch.from_numpy(means.cluster_centers_).double()
        self.counts = self.count(train)

    def count(self, x: Tensor) -> Tensor:
        """The number of rows whose nearest centre is that of each bin, ``(k,)``."""
        flat = x.flatten(1).double()
        nearest = [torch.cdist(part, self.centres.to(part.device)).argmin(1) for part in flat.split(10_000)]
        return torch.bincount(torch.cat(nearest), minlength=len(self.centres)).double().cpu()


def ndb(
    samples: Tensor, train: Tensor | Bins, bins: int | None = None, significance: float = 0.05, seed: int = 0
) -> Score:
    """The number of k-means cells of the training data that hold another share of samples than of training data.

    Bin b is different if the two-proportion z-test rejects equal shares, with p̂_b the share of both sets together:

        |p_b - q_b| / √(p̂_b (1 - p̂_b) (1 / n + 1 / m)) > Φ⁻¹(1 - significance / 2)

    As published for MNIST, data are not whitened and there is no correction for many bins, so that of one distribution
    about ``significance · k`` bins differ; the detail ``expected`` is the mean number over draws of both sets from
    their pooled shares. The published demonstration takes three or four standard errors, ``significance`` 2.7e-3 or
    6.3e-5.

    Args:
        samples: ``(m, *event)``.
        train: training data, ``(n, *event)``, or their ``Bins``, which can be used for many sets of samples.
        bins: the number of bins k; by default 100, or one for each 20 training rows if that is less.
        significance: the level of the test of each bin.
        seed: of k-means and of the draws for ``expected``.

    Returns:
        The number of different bins; lower is better. Details: ``of`` k bins, their ``share``, the ``expected`` number,
        and ``jensen_shannon``, the divergence between the shares in nats.

    Raises:
        ConfigError: for a number of bins or a significance out of range.
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    if not 0 < significance < 1:
        raise ConfigError(f"ndb: expected a significance between 0 and 1, got {significance:g}")
    cells = train if isinstance(train, Bins) else Bins(train, bins, seed)
    check_sets("ndb", 1, samples=samples)
    if samples.shape[1:].numel() != cells.centres.shape[1]:
        expected, got = cells.centres.shape[1], samples.shape[1:].numel()
        raise ConfigError(f"ndb: expected samples of {expected} values, as training data have; got {got}")
    of_train, of_samples = cells.counts, cells.count(samples)
    n, m, k = int(of_train.sum()), int(of_samples.sum()), len(of_train)
    limit = NormalDist().inv_cdf(1 - significance / 2)
    pooled = ((of_train + of_samples) / (n + m)).numpy()
    draw = np.random.default_rng(derive(seed, "ndb", "null"))
    null = [torch.from_numpy(draw.multinomial(size, pooled / pooled.sum(), NULL_DRAWS)).double() for size in (n, m)]
    chance = _differs(null[0], null[1], limit).double().sum(1).mean()
    found = int(_differs(of_train, of_samples, limit).sum())
    detail = {
        "of": k,
        "share": found / k,
        "expected": float(chance),
        "jensen_shannon": _jensen_shannon(of_train / n, of_samples / m),
        "n": m,
        "reference": n,
    }
    return Score(found, 0.0, "statistic", "bins", detail)


def _differs(a: Tensor, b: Tensor, limit: float) -> Tensor:
    """Whether the shares of counts ``(…, k)`` differ by more than ``limit`` standard errors."""
    n, m = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)
    pooled = (a + b) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    return (a / n - b / m).abs() > limit * error


def _jensen_shannon(p: Tensor, q: Tensor) -> float:
    mean = (p + q) / 2
    kl = [torch.special.xlogy(share, share / mean.clamp_min(1e-300)).sum() for share in (p, q)]
    return float(sum(kl) / 2)
