"""Steps, each one update of learning: variational inference, adversarial, gradient and closed-form steps."""

from pyrogen.steps.adversarial import AdversarialGame, bursts
from pyrogen.steps.closed_form import ClosedForm
from pyrogen.steps.diagnostics import advise
from pyrogen.steps.gradient import Descent
from pyrogen.steps.sequential import CodeGame, InTurn
from pyrogen.steps.svi import SVI

__all__ = ["SVI", "AdversarialGame", "ClosedForm", "CodeGame", "Descent", "InTurn", "advise", "bursts"]
