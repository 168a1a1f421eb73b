"""Training steps: variational inference, adversarial, plain gradient and closed-form steps, and several of them.

A step is ``step(*batch) -> {name: scalar}`` with ``evaluate``, ``state_dict`` and ``load_state_dict``, see
``protocols.Step``. It owns the optimisers and their schedules; ``pyrogen.fit`` iterates it over batches.
"""

from pyrogen.steps.adversarial import AdversarialGame, wgan_critic_schedule
from pyrogen.steps.closed_form import ClosedForm
from pyrogen.steps.diagnostics import diagnose
from pyrogen.steps.gradient import GradientStep
from pyrogen.steps.in_graph.exclusive import exclusive
from pyrogen.steps.optimizers import MakeOptimizer
from pyrogen.steps.sequential import LatentAdversarialStep, Pretraining, SequentialSteps
from pyrogen.steps.svi import SVI

__all__ = [
    "SVI",
    "AdversarialGame",
    "ClosedForm",
    "GradientStep",
    "LatentAdversarialStep",
    "MakeOptimizer",
    "Pretraining",
    "SequentialSteps",
    "diagnose",
    "exclusive",
    "wgan_critic_schedule",
]
