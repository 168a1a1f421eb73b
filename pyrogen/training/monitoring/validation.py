"""Validation during training."""

from typing import Any

import torch

from pyrogen.data.step_arguments import select_arguments
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives import BetaELBO
from pyrogen.protocols import LatentVariable
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.recipes import TrainingSetup
from pyrogen.report.explorer.contents import ACTIVE
from pyrogen.steps.svi import SVI
from pyrogen.training.monitoring.agenda import LOGS, due, validates

VALID_ROWS = 2000
"""How many validation data the validation loss is computed on."""


def validate(setup: TrainingSetup, weights: Any, seed: int, t: int, steps: int) -> dict[str, float]:
    """The validation loss, where weights are chosen by it and it is due; the weights are copied if it is the lowest.

    Args:
        setup: what is trained.
        weights: the rule by which the weights that the run ends with are chosen.
        seed: of the noise in the validation data.
        t: the number of the step.
        steps: that of the last step.
    """
    if setup.average is not None or not validates(t, steps):
        return {}
    batch = select_arguments(setup.step, tuple(part[:VALID_ROWS] for part in setup.data.valid.tensors(seed)))
    loss = float(setup.step.evaluate(*batch)["loss"])
    weights.judge(setup.model, loss, t)
    return {"valid_loss": loss} | (latent_terms(setup, batch) if due(t, steps, LOGS) else {})


@torch.no_grad()
def latent_terms(setup: TrainingSetup, batch: tuple[Any, ...]) -> dict[str, float]:
    """The two parts of the negative ELBO on validation data, in nats per datum, and the number of active units.

        valid_reconstruction = -E_q[log p(x | z)]        valid_kl = KL(q(z | x) ‖ p(z))

    Their sum is the loss for β = 1. A unit is active if Var_x(E_q[z_i | x]) > ``ACTIVE`` (Burda et al., ICLR 2016).
    There are none for a step that is no ``SVI``, or a pair without latent variables for each datum.
    """
    step, model = setup.step, setup.model
    if not isinstance(step, SVI):
        return {}
    with eval_mode(step), scoped_seed(EVALUATION):
        try:
            terms = BetaELBO().terms(step.model, step.guide, *batch)
        except ConfigError:  # an enumerated variable is not in the guide
            return {}
        if not terms.latent or terms.observed.ndim != 2:
            return {}
        kl = sum(divergence.sum(0).mean() for divergence, _ in terms.latent)
        row = {"valid_reconstruction": -float(terms.observed.mean()), "valid_kl": float(kl)}
        code = drop_extra_args(model.encode)(*batch) if isinstance(model, LatentVariable) else None
    if code is not None and code.is_floating_point() and code.ndim == 2 and len(code) > 1:
        row["active_units"] = int((code.var(0) > ACTIVE).sum())
    return row
