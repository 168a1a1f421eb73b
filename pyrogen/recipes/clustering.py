"""Recipe of a latent-variable model that clusters."""

from typing import Annotated, Literal

from pydantic import Field
from pyro.infer import TraceEnum_ELBO

from pyrogen.data.dataset import Dataset
from pyrogen.explicit.gmvae import GMVAE
from pyrogen.objectives.elbo import BetaELBO
from pyrogen.recipes.options import (
    LONGEST,
    BatchSize,
    EncoderHidden,
    Latent,
    LearningRate,
    Network,
    NonNegative,
    Observation,
    Sigma,
    Size,
    Steps,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, data_mean, observation_model, pair_step, training_rows
from pyrogen.steps.sequential import Pretraining


@register("explicit", "lower bound", "VAE whose prior is a mixture of Gaussians, one for each cluster (VaDE)")
def gmvae(
    data: Dataset,
    *,
    components: Annotated[Size, Field(description="K, the number of clusters")] = 10,
    latent: Latent = 10,
    hidden: EncoderHidden = (512, 512),
    covariance: Annotated[
        Literal["full", "diagonal"], Field(description="form of Σ_c; `diagonal` as in the paper")
    ] = "full",
    weights: Annotated[
        Literal["learned", "equal"], Field(description="π; `equal` where clusters are known to be equally frequent")
    ] = "learned",
    network: Network = "mlp",
    shift: Annotated[
        NonNegative, Field(description="s of the random affine maps of the encoder's images, in pixels; 0 for none")
    ] = 0.0,
    distortion: Annotated[
        NonNegative,
        Field(description="a of these maps, which rotate, scale and shear; 0.2 is 11 degrees or 20%"),
    ] = 0.0,
    pretraining: Annotated[
        int,
        Field(ge=0, le=LONGEST, description="steps with p(z) = N(0, I), before the mixture is fitted; at most half"),
    ] = 2000,
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    steps: Steps = 11_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Jiang et al., IJCAI 2017."""
    observation = observation_model(data, likelihood, sigma)
    model = GMVAE(
        data.shape,
        components,
        latent,
        hidden,
        covariance,
        weights,
        observation,
        network,
        data_mean(data),
        shift,
        distortion,
    )
    first = min(pretraining, steps // 2)
    step = Pretraining(
        pair_step(model, data, lr, first, loss=BetaELBO(), program=model.pretraining_model),
        pair_step(model, data, lr, steps - first, loss=TraceEnum_ELBO(max_plate_nesting=1)),
        until=first,
        begin=lambda: model.fit_mixture(training_rows(data)),
    )
    return TrainingSetup(model, step, data)
