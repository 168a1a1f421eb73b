"""Steps: stochastic variational inference with its objectives, and the two-player game with its losses."""

from pyrogen.infer.adversarial import AdversarialGame, bursts
from pyrogen.infer.closed_form import ClosedForm
from pyrogen.infer.compiled import CompiledELBO, CompiledTrace_ELBO
from pyrogen.infer.descent import Descent
from pyrogen.infer.elbo import IWAE, BetaELBO, FreeBits, Warmup
from pyrogen.infer.health import advise
from pyrogen.infer.lipschitz import GradientPenalty, ZeroPenalty, clip_weights, spectral
from pyrogen.infer.losses import Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from pyrogen.infer.svi import SVI

__all__ = [
    "IWAE",
    "SVI",
    "AdversarialGame",
    "BetaELBO",
    "ClosedForm",
    "CompiledELBO",
    "CompiledTrace_ELBO",
    "Descent",
    "FreeBits",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Warmup",
    "Wasserstein",
    "ZeroPenalty",
    "advise",
    "bursts",
    "clip_weights",
    "spectral",
]
