"""Models with a likelihood: exact, or bounded from below."""

from pyrogen.explicit.conditions import Attributes, Label, PartialImage, observe_quadrants
from pyrogen.explicit.cvae import CVAE
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.likelihoods import (
    BernoulliLikelihood,
    DiscretizedLogistic,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
)
from pyrogen.explicit.vae import VAE

__all__ = [
    "CVAE",
    "VAE",
    "Attributes",
    "BernoulliLikelihood",
    "DiscretizedLogistic",
    "DiscretizedLogisticLikelihood",
    "Gaussian",
    "GaussianLikelihood",
    "Label",
    "PartialImage",
    "observe_quadrants",
]
