"""Training objectives: bounds on the log-likelihood for Pyro pairs, adversarial losses, and constraints on a critic.

An objective of a pair is a Pyro ``ELBO``; an adversarial loss consists of a critic loss and a generator loss; a penalty
is added to the critic's. None of them holds an optimiser or updates a parameter: that is done by ``pyrogen.steps``.
"""

from pyrogen.objectives.adversarial import (
    MMD,
    AdversarialLoss,
    FeatureMatching,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits, Objective, Warmup
from pyrogen.objectives.penalties import (
    GradientPenalty,
    LikelihoodPenalty,
    R1Penalty,
    apply_spectral_norm,
    clip_weights,
)

__all__ = [
    "IWAE",
    "MMD",
    "AdversarialLoss",
    "BetaELBO",
    "FeatureMatching",
    "FreeBits",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "LikelihoodPenalty",
    "Minimax",
    "NonSaturating",
    "Objective",
    "R1Penalty",
    "Relativistic",
    "Warmup",
    "Wasserstein",
    "apply_spectral_norm",
    "clip_weights",
]
