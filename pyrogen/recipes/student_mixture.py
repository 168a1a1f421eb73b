"""The recipe of a mixture of Student's t distributions."""

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require_probability
from pyrogen.explicit.student_mixture import StudentMixture
from pyrogen.recipes.options import BatchSize, LearningRate, Steps
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, svi


@register("explicit", "exact", "mixture of Student's t distributions with independent dimensions")
def student_mixture(
    data: Dataset,
    *,
    components: Annotated[PositiveInt, Field(description="number of components")] = 10,
    df: Annotated[PositiveFloat, Field(description="ν, the degrees of freedom")] = 4.0,
    steps: Steps = 2000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """SVI with an empty guide, from random data as locations. Peel and McLachlan, 2000."""
    require_probability(data.space, StudentMixture.probability, "a mixture of Student's t")
    x = data.train.tensors()[0].flatten(1)
    start = x[torch.randperm(len(x))[:components].to(x.device)]
    model = StudentMixture(data.shape, start, x.std(0).clamp_min(1e-3), df)
    return TrainingSetup(model, svi(model, lr, steps), data)
