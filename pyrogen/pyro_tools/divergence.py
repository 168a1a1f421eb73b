"""The divergence of the posterior of each latent coordinate from its prior."""

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import kl_divergence

from pyrogen.errors import ConfigError
from pyrogen.protocols import Pair
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.pyro_tools.observation import single_values
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.pyro_tools.traces import is_delta


def coordinate_divergence(pair: Pair, program: LatentProgram, x: Tensor, *rest: Tensor) -> Tensor:
    """KL(q(z_i | x, above) ‖ p(z_i | above)) of each coordinate in nats, ``(n, size)``, given a draw of those above it.

    Args:
        pair: model and guide.
        program: their functions of vectors.
        x: data, ``(n, *event)``.
        rest: side information with ``n`` rows.

    Raises:
        ConfigError: if the coordinates of a variable are dependent under either, its posterior is a point, or the
            divergence is not known in closed form.
    """
    given = poutine.trace(drop_extra_args(pair.guide)).get_trace(x, *rest)
    joint = poutine.trace(poutine.replay(drop_extra_args(pair.model), trace=given)).get_trace(x, *rest)
    found = []
    for site in program.sites:
        q, p = (single_values(trace.nodes[site.name]["fn"]) for trace in (given, joint))
        names = f"q is a {type(q).__name__}, p a {type(p).__name__}"
        if is_delta(q):
            raise ConfigError(f"the posterior of site {site.name!r} is a point")
        if q.event_shape or p.event_shape:
            raise ConfigError(f"the coordinates of site {site.name!r} are dependent: {names}")
        try:
            value = kl_divergence(q, p)
        except NotImplementedError:
            raise ConfigError(f"the divergence of site {site.name!r} has no closed form: {names}") from None
        found.append(site.flatten(value.expand(given.nodes[site.name]["value"].shape)))
    return torch.cat(found, 1)
