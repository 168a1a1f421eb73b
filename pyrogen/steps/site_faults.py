"""Sites of a Pyro program whose log-probability, value or parameters are not finite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import kl_divergence

from pyrogen.pyro_tools.traces import Site
from pyrogen.steps.origins import broken_rows, is_finite


class SiteMessages(Messenger):
    """Keeps every sample site of the programs that run inside, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: list[Site] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        if type(msg["fn"]).__name__ != "_Subsample" and not msg["infer"].get("_deterministic"):
            self.sites.append(dict(msg))


@dataclass(frozen=True)
class SiteFault:
    """A site that is not finite.

    Args:
        text: e.g. ``log_prob of site 'x' is -inf``.
        rows: the positions in the batch; ``None`` if they are not known.
        vanishing: a positive parameter of the distribution whose square is 0, e.g. ``scale``; else ``None``.
        outside_prior: whether a draw from the guide has probability 0 under the model.
        certain: whether it cannot be meant: impossible values, of log-probability -inf, may be.
    """

    text: str
    rows: list[int] | None
    vanishing: str | None = None
    outside_prior: bool = False
    certain: bool = True


@torch.no_grad()
def first_fault(sites: Sequence[Site], rows: int | None) -> SiteFault | None:
    """The first site that has NaN, or parameters or values that are not finite; else the first with probability 0 or ∞.

    Args:
        sites: of guide and model, in the order in which they ran.
        rows: the number of rows of the batch.
    """
    guide: dict[str, Site] = {}  # a latent variable is met there first
    weak: SiteFault | None = None
    for site in sites:
        q = guide.get(site["name"])
        fault = _fault(site, rows, " log p" if q else " log q") or (_infinite_kl(q, site, rows) if q else None)
        guide[site["name"]] = site
        if fault and fault.certain:
            return fault
        weak = weak or fault
    return weak


def _infinite_kl(q: Site, p: Site, rows: int | None) -> SiteFault | None:
    """The divergence in closed form, infinite where q reaches beyond p although a draw did not."""
    try:
        kl = kl_divergence(_base(q["fn"]), _base(p["fn"]))
    except Exception:  # there is no closed form, or the distribution is the user's
        return None
    found = broken_rows(~kl.isfinite(), rows) if rows else None
    return None if is_finite(kl) else SiteFault(f"KL of site {p['name']!r} is inf", found, None, True, False)


def _fault(site: Site, rows: int | None, density: str) -> SiteFault | None:
    """What is not finite at a site, if anything; ``density`` is that of a latent variable."""
    fn, name = _base(site["fn"]), site["name"]
    parameters = {key: v for key in fn.arg_constraints if isinstance(v := fn.__dict__.get(key), Tensor)}
    broken = next((key for key, v in parameters.items() if not is_finite(v)), None)
    small = "scale" if "scale" in parameters and bool((parameters["scale"].square() == 0).any()) else None
    bad = [t for t in (_log_prob(site), parameters.get(broken or ""), site["value"]) if t is not None]
    bad = [t for t in bad if not is_finite(t)]
    if not bad:
        return None
    wrong = bad[0][~bad[0].isfinite()]
    value = "nan" if bool(wrong.isnan().any()) else str(wrong[0].item())
    detail = f", its {broken} is not finite" if broken else f", its {small} is 0 or nearly 0" if small else ""
    latent = not site["is_observed"]
    term = f"KL of site {name!r} is not finite:{density} is" if latent else f"log_prob of site {name!r} is"
    return SiteFault(
        f"{term} {value}{detail}",
        broken_rows(~bad[0].isfinite(), rows) if rows else None,
        small,
        latent and density == " log p" and value == "-inf",
        value == "nan" or bool(broken or small),
    )


def _base(fn: Any) -> Any:
    """The distribution without what reinterprets, expands or masks it."""
    while getattr(fn, "base_dist", None) is not None and not hasattr(fn, "transforms"):
        fn = fn.base_dist
    return fn


def _log_prob(site: Site) -> Tensor | None:
    """The log-probability of a site, 0 where it is masked; ``None`` if the distribution cannot compute it."""
    try:
        value: Tensor = site["fn"].log_prob(site["value"])
    except Exception:  # a distribution of the user's may raise anything
        return None
    mask = site["mask"]
    return value if mask is None else value.where(torch.as_tensor(mask), 0.0)
