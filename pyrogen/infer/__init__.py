"""Steps: stochastic variational inference, and the two-player game."""

from pyrogen.infer.adversarial import AdversarialGame, GradientPenalty, Minimax, NonSaturating, Wasserstein
from pyrogen.infer.svi import SVI

__all__ = ["SVI", "AdversarialGame", "GradientPenalty", "Minimax", "NonSaturating", "Wasserstein"]
