"""The joint of a Pyro pair as functions of one vector z per datum, which holds all latent variables of the data plate.

    log p(z),   log p(x | z),   E[x | z],   z ~ p(z),   z ~ q(z | x)

Global latent variables, outside the data plate, keep the values of one draw from the guide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import biject_to

from pyrogen.errors import ConfigError
from pyrogen.protocols import Pair
from pyrogen.pyro_tools.enumeration import has_enumerated_sites
from pyrogen.pyro_tools.observation import Observation
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.pyro_tools.structure import pair_structure, programs
from pyrogen.pyro_tools.traces import Site, data_dim, log_prob, sample_sites, sum_plates
from pyrogen.random import scoped_seed


@dataclass(frozen=True)
class LatentSite:
    """A latent variable of one datum.

    Args:
        name: of its site.
        shape: of its value for one datum.
        dim: of the data plate in its value, negative.
        support: its support, a constraint.
    """

    name: str
    shape: tuple[int, ...]
    dim: int
    support: Any

    @property
    def size(self) -> int:
        """The number of its coordinates."""
        return prod(self.shape)

    def flatten(self, value: Tensor) -> Tensor:
        """A value of the site as ``(n, size)``."""
        return value.movedim(self.dim, 0).reshape(value.shape[self.dim], -1)

    def unflatten(self, z: Tensor) -> Tensor:
        """The inverse of ``flatten``."""
        return z.reshape(len(z), *self.shape).movedim(0, self.dim)


class LatentProgram:
    """A Pyro pair as functions of vectors z, ``(n, size)``: the latent variables of each datum in the model's order.

    Args:
        pair: model and guide, as for ``SVI``; in place of ``model`` its ``marginal``, if it has that program, in which
            enumerated variables are summed out.
        x: some data, ``(n, *event)``, of which the shapes are taken.
        rest: side information with as many rows.

    Attributes:
        sites: the latent variables.
        size: the number of coordinates of z.

    Raises:
        ConfigError: as for ``pair_structure``; or if there is no latent variable in the data plate, or one that is
            enumerated.
    """

    def __init__(self, pair: Pair, x: Tensor, *rest: Tensor) -> None:
        self._model, self._guide = programs(pair)
        if hasattr(pair, "marginal"):
            self._model = drop_extra_args(pair.marginal)
        with scoped_seed(0), torch.no_grad():
            self._structure = pair_structure(pair, x[:2], *(t[:2] for t in rest))
            given = poutine.trace(self._guide).get_trace(x[:2], *(t[:2] for t in rest))
            enumerating = poutine.enum(self._model, first_available_dim=-1 - self._structure.depth)
            joint = poutine.trace(poutine.replay(enumerating, trace=given)).get_trace(x[:2], *(t[:2] for t in rest))
        if has_enumerated_sites(joint):
            raise ConfigError("the model has enumerated latent variables, which have no values for each datum")
        self._globals = {
            s["name"]: s["value"] for s in sample_sites(given) if data_dim(s, self._structure.data) is None
        }
        local = [s for s in sample_sites(joint) if not s["is_observed"] and s["name"] in given.nodes]
        self.sites = [_latent_site(s, dim) for s in local if (dim := data_dim(s, self._structure.data)) is not None]
        self.size = sum(site.size for site in self.sites)
        self._event, self._template = x.shape[1:], x.new_zeros(())
        if not self.sites:
            raise ConfigError("the model has no latent variable in its data plate")

    @property
    def is_continuous(self) -> bool:
        """Whether all latent variables are continuous."""
        return not any(site.support.is_discrete for site in self.sites)

    def columns(self, width: int) -> slice:
        """The coordinates that are a code of ``width``: all, or those of one variable, the last, nearest to x.

        Raises:
            ConfigError: if there is no variable of that width.
        """
        end = self.size
        if width == end:
            return slice(0, end)
        for site in reversed(self.sites):
            if site.size == width:
                return slice(end - width, end)
            end -= site.size
        sizes = ", ".join(f"{site.name} {site.size}" for site in self.sites)
        raise ConfigError(f"a code of {width} coordinates is none of the latent variables, which have {sizes}")

    def encode(self, x: Tensor, *rest: Tensor, draw: bool = False) -> Tensor:
        """The means of q(z | x), each given the draws above it, or a draw; ``(n, size)``."""
        given = poutine.trace(self._guide).get_trace(x, *rest)
        return torch.cat([site.flatten(_value(given.nodes[site.name], draw)) for site in self.sites], 1)

    def draw(self, n: int, *rest: Tensor) -> Tensor:
        """Draw z ~ p(z), ``(n, size)``."""
        joint = poutine.trace(self._conditioned({})).get_trace(self._like(n), *rest)
        return torch.cat([site.flatten(joint.nodes[site.name]["value"]) for site in self.sites], 1)

    def mean(self, z: Tensor, *rest: Tensor) -> Tensor:
        """E[x | z], ``(n, *event)``.

        Raises:
            ConfigError: if there is not one observed site, or its distribution has no mean.
        """
        return self.joint(z, *rest)[1].mean

    def joint(self, z: Tensor, *rest: Tensor) -> tuple[Tensor, Observation]:
        """Log p(z) in nats, ``(n,)``, and the distribution p(x | z).

        Raises:
            ConfigError: if there is not one observed site.
        """
        joint = poutine.trace(self._conditioned(self.split(z))).get_trace(self._like(len(z)), *rest)
        names = {site.name for site in self.sites}
        site = self._observed(joint)
        dim = data_dim(site, self._structure.data)
        assert dim is not None  # ``pair_structure`` has checked it
        observation = Observation(site["fn"], dim - len(site["fn"].event_shape), (len(z), *self._event))
        return self._row_sum(joint, lambda found: found["name"] in names, z), observation

    def log_joint(self, z: Tensor, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        """``(log p(z), log p(x | z))`` in nats, each ``(n,)``; differentiable in z."""
        joint = poutine.trace(self._conditioned(self.split(z))).get_trace(x, *rest)
        names = {site.name for site in self.sites}
        prior = self._row_sum(joint, lambda site: site["name"] in names, z)
        return prior, self._row_sum(joint, lambda site: site["name"] not in names, z)

    def _row_sum(self, joint: poutine.Trace, chosen: Callable[[Site], bool], z: Tensor) -> Tensor:
        """Sum the log-probabilities of sites in the data plate per row, ``(n,)``."""
        total = z.new_zeros(len(z))
        for site in sample_sites(joint):
            dim = data_dim(site, self._structure.data)
            if dim is not None and chosen(site):
                term = scale_and_mask(log_prob(site), 1.0, site["mask"])
                total = total + sum_plates(term, dim, self._structure.depth).flatten()
        return total

    def constrain(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map unconstrained coordinates to z, with ``log |dz / du|``, ``(n,)``.

        Raises:
            ConfigError: if a latent variable is discrete.
        """
        parts, log_det = [], u.new_zeros(len(u))
        for site, part in zip(self.sites, u.split([site.size for site in self.sites], 1), strict=True):
            if site.support.is_discrete:
                raise ConfigError(f"site {site.name!r} is discrete: it has no unconstrained coordinates")
            transform = biject_to(site.support)
            value = part.reshape(len(u), *site.shape)
            mapped = transform(value)
            if mapped.shape != value.shape:
                raise ConfigError(f"site {site.name!r}: values on a {type(site.support).__name__} are not supported")
            log_det = log_det + transform.log_abs_det_jacobian(value, mapped).reshape(len(u), -1).sum(1)
            parts.append(mapped.reshape(len(u), -1))
        return torch.cat(parts, 1), log_det

    def unconstrain(self, z: Tensor) -> Tensor:
        """The inverse of ``constrain``."""
        parts = z.split([site.size for site in self.sites], 1)
        return torch.cat(
            [
                biject_to(site.support).inv(part.reshape(len(z), *site.shape)).reshape(len(z), -1)
                for site, part in zip(self.sites, parts, strict=True)
            ],
            1,
        )

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """The value of every site.

        Raises:
            ConfigError: if z has another number of coordinates.
        """
        if z.ndim != 2 or z.shape[1] != self.size:
            raise ConfigError(f"expected latent vectors (n, {self.size}), got {tuple(z.shape)}")
        parts = z.split([site.size for site in self.sites], 1)
        return {site.name: site.unflatten(part) for site, part in zip(self.sites, parts, strict=True)}

    def _conditioned(self, values: Mapping[str, Tensor]) -> Any:
        return poutine.condition(self._model, data={**self._globals, **values})

    def _like(self, n: int) -> Tensor:
        return self._template.expand(n, *self._event)

    def _observed(self, joint: poutine.Trace) -> Site:
        names = {site.name for site in self.sites} | self._globals.keys()
        found = [s for s in sample_sites(joint) if s["is_observed"] and s["name"] not in names]
        found = [s for s in found if type(s["fn"]).__name__ != "Unit"]
        if len(found) != 1:
            raise ConfigError(f"expected one observed site, the data; found {[s['name'] for s in found]}")
        return found[0]


def _latent_site(site: Site, dim: int) -> LatentSite:
    dim -= len(site["fn"].event_shape)
    shape = list(site["value"].shape)
    del shape[dim]
    return LatentSite(site["name"], tuple(shape), dim, site["fn"].support)


def _value(site: Site, draw: bool) -> Tensor:
    """The mean of a site's distribution; its draw if it has none."""
    value: Tensor = site["value"]
    if draw:
        return value
    try:
        mean: Tensor = site["fn"].mean
    except NotImplementedError:
        return value
    return mean.expand(value.shape)
