"""What mixtures share: the check of their size, k-means clusters as their initial value, a smallest deviation."""

import warnings

import torch
from torch import Tensor

from pyrogen.errors import ConfigError


def check_mixture(components: int, min_std: float) -> None:
    """Raise ``ConfigError`` for fewer than 1 component, or a smallest standard deviation that is not positive."""
    if components < 1 or not min_std > 0:
        raise ConfigError(f"a mixture needs components >= 1 and min_std > 0; got {components} and {min_std}")


def log_excess(std: Tensor, min_std: float) -> Tensor:
    """The parameter a of the standard deviation ``min_std + exp(a)``; of one at or near ``min_std``, slightly more."""
    return (std - min_std).clamp_min(0.1 * min_std).log()


def cluster(x: Tensor, components: int, seed: int, what: str = "a mixture") -> Tensor:
    """The cluster of each datum, ``long (n,)``; none is empty. scikit-learn's k-means, from one start.

    Args:
        x: ``(n, d)``.
        components: the number of clusters.
        seed: of the start.
        what: is initialised, for the message.

    Raises:
        ConfigError: if there are fewer different data than components.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    member = None
    if components <= len(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters than asked are an error below
            labels = KMeans(components, n_init=1, random_state=seed).fit(x.cpu().double().numpy()).labels_
        member = torch.from_numpy(labels).long().to(x.device)
    if member is None or len(member.unique()) < components:
        raise ConfigError(
            f"{what} of {components} components needs at least as many different data to initialise; "
            f"got {len(x.unique(dim=0))} among {len(x)}"
        )
    return member
