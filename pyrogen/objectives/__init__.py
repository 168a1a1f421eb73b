"""What a step minimises: bounds on a log-likelihood, adversarial losses, penalties on a critic."""

from pyrogen.objectives.adversarial import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits, Objective, Warmup
from pyrogen.objectives.penalties import GradientPenalty, R1Penalty, apply_spectral_norm, clip_weights

__all__ = [
    "IWAE",
    "AdversarialLoss",
    "BetaELBO",
    "FreeBits",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Objective",
    "R1Penalty",
    "Warmup",
    "Wasserstein",
    "apply_spectral_norm",
    "clip_weights",
]
