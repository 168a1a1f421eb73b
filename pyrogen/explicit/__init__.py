"""Explicit models, whose likelihood is exact or bounded: densities, flows, autoregressive models and VAEs."""

from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.cvae import CVAE
from pyrogen.explicit.flow import Flow, autoregressive, coupling, multiscale
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.gmvae import GMVAE, ComponentSampler
from pyrogen.explicit.histogram import Histogram
from pyrogen.explicit.kde import KernelDensity
from pyrogen.explicit.ladder import LadderVAE
from pyrogen.explicit.likelihoods import (
    BernoulliLikelihood,
    DiscretizedLogistic,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
)
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.mppca import PPCAMixture
from pyrogen.explicit.pixelcnn import PixelCNN
from pyrogen.explicit.posteriors import DiagonalNormal, FlowPosterior
from pyrogen.explicit.ppca import PPCA
from pyrogen.explicit.priors import StandardNormal, VampPrior
from pyrogen.explicit.spline import Spline
from pyrogen.explicit.vae import VAE
from pyrogen.explicit.vqvae import VQVAE, VQVAE2
from pyrogen.nn.conditions import Attributes, Label, PartialImage, observe_quadrants

__all__ = [
    "CVAE",
    "GMVAE",
    "MADE",
    "PPCA",
    "VAE",
    "VQVAE",
    "VQVAE2",
    "Attributes",
    "BernoulliLikelihood",
    "ComponentSampler",
    "DiagonalNormal",
    "DiscretizedLogistic",
    "DiscretizedLogisticLikelihood",
    "Flow",
    "FlowPosterior",
    "Gaussian",
    "GaussianLikelihood",
    "GaussianMixture",
    "Histogram",
    "KernelDensity",
    "Label",
    "LadderVAE",
    "MixtureLikelihood",
    "PPCAMixture",
    "PartialImage",
    "PixelCNN",
    "Spline",
    "StandardNormal",
    "VampPrior",
    "autoregressive",
    "coupling",
    "multiscale",
    "observe_quadrants",
]
