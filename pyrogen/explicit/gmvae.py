"""A variational autoencoder that clusters: its prior is a mixture of Gaussians, one for each cluster.

    c ~ Categorical(π)      z | c ~ N(μ_c, Σ_c)      p(x | z) = likelihood(decoder(z))
    q(z | x) = N(m(x), diag s²(x))      q(c | z) = p(c | z)

Jiang et al., "Variational deep embedding" (VaDE), IJCAI 2017, where Σ_c is diagonal. With this q(c | z) the component
is summed out exactly:

    ELBO(x) = E_{q(z | x)} [log p(x | z) + log Σ_c π_c N(z; μ_c, Σ_c) - log q(z | x)]  ≤  log p(x)

In training the encoder may see images under a random affine map T, and the likelihood the data: q(z | T x) in place of
q(z | x), so that the objective is the mean over T of bounds on the same log p(x) (Im et al., "Denoising criterion for
variational auto-encoding framework", AAAI 2017). Codes then keep little of what T changes.
"""

from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.density_distribution import DensityDistribution
from pyrogen.explicit.latent import LatentModel
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.explicit.posteriors import DiagonalNormal
from pyrogen.explicit.priors import standard_normal
from pyrogen.nn.conditions import Label
from pyrogen.nn.conv import RandomAffine
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.networks import decoder_for, encoder_for

WEIGHTS = ("learned", "equal")
ROWS = 2000
"""How many data are encoded at a time to fit the mixture."""
STARTS = 20
"""The number of starts of the mixture's fit."""
MIN_STD = 0.03
"""The least deviation of a component, in units of that of the codes."""


class GMVAE(LatentModel):
    """A variational autoencoder with a mixture prior as a Pyro pair, in which the component c is enumerated.

    Args:
        shape: the shape of one datum, ``(channel, height, width)`` or ``(d,)``.
        components: the number of clusters K.
        latent: the dimension of z.
        hidden: the widths of the encoder's hidden layers; the decoder mirrors them. For ``conv``, the first is the
            number of channels of the first convolution.
        covariance: of each component, ``full`` or ``diagonal``.
        weights: π, ``learned``, or ``equal``: a claim that clusters are equally frequent.
        likelihood: the observation model p(x | z).
        network: ``mlp`` or ``conv``.
        mean: the mean of the data, of ``shape``, at which the decoder is initialised.
        shift, distortion: of the random affine maps of the encoder's images in training (see ``RandomAffine``): a claim
            that these keep a datum in its cluster. 0 by default.

    Raises:
        ConfigError: for an unknown covariance, weights or network, ``conv`` on data that are not images of at least
            8 × 8, or a shift or distortion of data that are not images.
    """

    def __init__(
        self,
        shape: Sequence[int],
        components: int = 10,
        latent: int = 10,
        hidden: Sequence[int] = (512, 512),
        covariance: str = "full",
        weights: str = "learned",
        likelihood: Likelihood | None = None,
        network: str = "mlp",
        mean: Tensor | None = None,
        shift: float = 0.0,
        distortion: float = 0.0,
    ) -> None:
        super().__init__(shape, likelihood, mean)
        self.latent = latent
        if weights not in WEIGHTS:
            raise unknown("weights", weights, WEIGHTS)
        self.equal_weights = weights == "equal"
        self.mixture = GaussianMixture((latent,), components, covariance, MIN_STD, equal_weights=self.equal_weights)
        self.q_z = DiagonalNormal(latent)
        self.encoder = encoder_for(network, self.shape, self.q_z.outputs, hidden)
        if shift or distortion:
            self.encoder = nn.Sequential(RandomAffine(shape, shift, distortion), self.encoder)
        self.decoder = decoder_for(network, latent, self.outputs, hidden)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(c, z, x) over a batch ``(batch, *shape)``, with c enumerated: train with ``TraceEnum_ELBO``."""
        y = self.side(x.shape[0], y)
        pyro.module("model", self)
        logits, loc = self.mixture.components(x.shape[0], None)
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            z = pyro.sample("z", self.mixture.component(c, loc))
            pyro.sample("x", self.observation_dist(z, y).to_event(len(self.shape)), obs=x)

    def marginal(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(z, x) over a batch with c summed out, a program for any ELBO."""
        super().model(x, y)

    def pretraining_model(self, x: Tensor) -> None:
        """The VAE in which training starts: z ~ N(0, I) in place of the mixture, with the same guide."""
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", standard_normal(self.offset.new_zeros(x.shape[0], self.latent)))
            pyro.sample("x", self.observation_dist(z, None).to_event(len(self.shape)), obs=x)

    def prior_dist(self, n: int, y: Tensor | None = None) -> Any:
        """p(z), the mixture, for ``n`` data."""
        return DensityDistribution(self.mixture, (n,))

    def posterior_dist(self, x: Tensor, y: Tensor | None = None) -> Any:
        """q(z | x)."""
        return self.q_z(self.encoder(x))

    def responsibilities(self, x: Tensor) -> Tensor:
        """q(c | x) = p(c | z) at z = m(x), ``(batch, components)``."""
        return self.mixture.responsibilities(self.encode(x))

    def assign(self, x: Tensor) -> Tensor:
        """The most probable component of each datum, ``long (batch,)``."""
        return self.responsibilities(x).argmax(1)

    @torch.no_grad()
    def fit_mixture(self, x: Tensor, seed: int = 0) -> None:
        """Fit the mixture to draws z ~ q(z | x) by expectation maximisation, which maximises the ELBO over p(z).

        Args:
            x: the data, ``(n, *shape)``.
            seed: of the starts.

        Raises:
            ConfigError: if there are more components than data.
        """
        with eval_mode(self):
            z = torch.cat([self.posterior_dist(part.to(self.offset)).sample() for part in x.split(ROWS)])
        k, covariance = len(self.mixture.logits), self.mixture.covariance
        fitted = GaussianMixture.from_em(z, k, covariance, MIN_STD, self.equal_weights, STARTS, seed)
        self.mixture.load_state_dict(fitted.state_dict())

    def draw_latent(self, n: int, y: Tensor | None, component: int | Tensor | None = None) -> Tensor:
        """Draw z ~ p(z | c), ``(n, latent)``; c ~ p(c) where no component is given."""
        logits, loc = self.mixture.components(n, None)
        if component is None:
            c = torch.multinomial(logits.softmax(1), 1)[:, 0]
        else:
            c = torch.as_tensor(component, device=loc.device).expand(n)
            if not bool(((c >= 0) & (c < loc.shape[1])).all()):
                raise ConfigError(f"expected components 0 to {loc.shape[1] - 1}; got {component}")
        z: Tensor = self.mixture.component(c, loc).sample()
        return z

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, component: int | Tensor | None = None) -> Tensor:
        """Draw z, then x ~ p(x | z): ``(n, *shape)``.

        Args:
            n: the number of data.
            y: ``None``: there is no side information.
            component: the cluster of all, or of each, ``long (n,)``; drawn from p(c) by default.

        Raises:
            ConfigError: for a component that the mixture does not have.
        """
        with eval_mode(self):
            z = self.draw_latent(n, self.side(n, y), component)
            x: Tensor = self.observation_dist(z, None).sample()
            return x

    @torch.no_grad()
    def sample_mean(self, n: int, y: Tensor | None = None, component: int | Tensor | None = None) -> Tensor:
        """As ``sample``, but E[x | z], without observation noise."""
        with eval_mode(self):
            return self.decode(self.draw_latent(n, self.side(n, y), component))


class ComponentSampler:
    """A ``GMVAE`` as a class-conditional sampler, whose classes are the components.

    Args:
        model: the GMVAE.

    Attributes:
        condition: the components as labels, with p(c).
    """

    def __init__(self, model: GMVAE) -> None:
        self.model = model
        weights = model.mixture.logits.detach().softmax(0)
        self.condition = Label(len(weights), weights).to(weights.device)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw x given the component of each."""
        return self.model.sample(n, component=y)

    def sample_mean(self, n: int, y: Tensor | None = None) -> Tensor:
        """E[x | z] of the same draws of z."""
        return self.model.sample_mean(n, component=y)
