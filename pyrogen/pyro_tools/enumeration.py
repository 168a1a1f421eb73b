"""Marginalise enumerated discrete latent variables by Pyro's tensor contraction, separately for each datum.

    log p(x_i) = log Σ_s Π_j p(s_j | …) Π_t p(x_it | s, …)

Several sites may share one enumeration dimension (``pyro.markov`` recycles it), so terms are packed: each dimension is
named by the site it enumerates. Plates within a datum are multiplied over; the data plate is neither summed nor
multiplied over.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import torch
from opt_einsum import get_symbol
from pyro.distributions import MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.ops.contract import contract_to_tensor
from pyro.ops.packed import pack
from pyro.poutine import Trace
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.traces import Site, data_dim, log_prob, sample_sites


def has_enumerated_sites(trace: Trace) -> bool:
    """Whether a trace has an enumerated site."""
    return any(site["infer"].get("_enumerate_dim") is not None for site in sample_sites(trace))


def marginal_log_prob(trace: Trace, data: Collection[str], rows: int) -> Tensor:
    """Return the log-probability of each row with all enumerated sites marginalised.

    A masked enumerated site keeps its probabilities, which sum to one, as in Pyro's ``TraceEnum_ELBO``: it has no
    effect if all sites that depend on it are masked too.

    Args:
        trace: a trace of the model under ``poutine.enum``.
        data: the names of the data plates.
        rows: the size of the data plates.

    Returns:
        Nats, ``(rows,)``. Sites outside the data plates are left out.

    Raises:
        ConfigError: if the sum would be exponential in the size of a plate, or a site has a dimension that belongs
            to no plate and no enumerated site.
    """
    inside = [site for site in sample_sites(trace) if data_dim(site, data) is not None]
    row = get_symbol(0)
    trace.symbolize_dims(dict.fromkeys(sorted(data), row))
    terms: OrderedDict[frozenset[str], list[Tensor]] = OrderedDict()
    sums = {s["infer"]["_enumerate_symbol"] for s in inside if s["infer"].get("_enumerate_dim") is not None}
    for site in inside:
        plates = {trace.plate_to_symbol[f.name] for f in site["cond_indep_stack"] if f.vectorized} - {row}
        terms.setdefault(frozenset(plates), []).append(_packed_term(site))
    try:
        total = contract_to_tensor(terms, sums)
    except NotImplementedError as error:
        names = ", ".join(repr(s["name"]) for s in inside if s["infer"].get("_enumerate_dim") is not None)
        raise ConfigError(
            f"the enumerated sites ({names}) depend on each other across plates: the sum is exponential in their size"
        ) from error
    return total.expand(rows) if total.ndim == 0 else total


def _packed_term(site: Site) -> Tensor:
    """Return a site's log-probability with named dimensions."""
    if site["infer"].get("_enumerate_dim") is not None:
        fn: Any = site["fn"]
        while isinstance(fn, MaskedDistribution):
            fn = fn.base_dist
        term = fn.log_prob(site["value"])
    else:
        term = scale_and_mask(log_prob(site), 1.0, site["mask"])
    try:
        named: Tensor = pack(term[...], site["infer"]["_dim_to_symbol"])
    except ValueError as error:
        raise ConfigError(
            f"site {site['name']!r} has a log-probability of shape {tuple(term.shape)}: "
            f"one of its dimensions belongs to no plate and no enumerated site"
        ) from error
    return named if torch.is_tensor(named) else torch.as_tensor(named)
