"""The posterior of the latent variables that all data share, as ArviZ reads it."""

from typing import Any

import torch
from pyro import poutine
from pyro.infer import MCMC
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives.elbo import ROW_PLATES
from pyrogen.pyro_tools.traces import sample_sites
from pyrogen.random import scoped_seed
from pyrogen.steps.svi import SVI


def to_arviz(inferred: SVI | MCMC, *batch: Any, draws: int = 1000, seed: int = 0) -> Any:
    """A ``DataTree`` of ArviZ with the group ``posterior``: ``(chain, draw, *shape)`` for each variable.

    Args:
        inferred: a trained ``SVI`` step, from whose guide the variables outside the data plate are drawn; or what
            Pyro's ``MCMC`` has drawn, with the group ``sample_stats`` of divergent transitions.
        batch: for a step, the arguments of model and guide, such as ``x``.
        draws: for a step, how many.
        seed: of the draws.

    Raises:
        ConfigError: if ArviZ is not installed, or there are no such variables.
    """
    try:
        from arviz_base import from_dict
    except ImportError as error:
        raise ConfigError("the posterior as a DataTree needs ArviZ: pip install 'pyrogen[arviz]'") from error
    if isinstance(inferred, MCMC):
        groups = _of_chains(inferred)
    else:
        groups = {"posterior": _of_guide(inferred, batch, draws, seed)}
    return from_dict({name: {k: v.cpu().numpy() for k, v in each.items()} for name, each in groups.items()})


def _of_chains(mcmc: MCMC) -> dict[str, dict[str, Tensor]]:
    """The draws of every chain, and which of their transitions diverged."""
    posterior: dict[str, Tensor] = mcmc.get_samples(group_by_chain=True)
    if not posterior:
        raise ConfigError("the chains have no latent variables")
    chains, draws = next(iter(posterior.values())).shape[:2]
    diverging = torch.zeros(chains, draws, dtype=torch.bool)
    found = mcmc.diagnostics().get("divergences", {})
    for i, steps in enumerate(found.values()):
        diverging[i, [step for step in steps if step < draws]] = True
    return {"posterior": posterior, "sample_stats": {"diverging": diverging}}


def _of_guide(step: SVI, batch: tuple[Any, ...], draws: int, seed: int) -> dict[str, Tensor]:
    """Draws of the guide, as one chain."""
    with torch.no_grad(), eval_mode(step), scoped_seed(seed):
        inside = ROW_PLATES(step, step.model, step.guide, batch) or frozenset()
        latent = [site["name"] for site in sample_sites(poutine.trace(step.model).get_trace(*batch))]
        first = sample_sites(poutine.trace(step.guide).get_trace(*batch))
        names = [
            site["name"]
            for site in first
            if site["name"] in latent and not any(frame.name in inside for frame in site["cond_indep_stack"])
        ]
        if not names:
            raise ConfigError("the guide draws no latent variable outside the data plate: all are of a datum each")
        traces = [poutine.trace(step.guide).get_trace(*batch) for _ in range(draws)]
    return {name: torch.stack([trace.nodes[name]["value"] for trace in traces])[None] for name in names}
