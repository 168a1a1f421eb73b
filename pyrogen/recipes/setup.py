"""The result of a recipe, and code shared by recipes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require_probability
from pyrogen.errors import ConfigError
from pyrogen.explicit.likelihoods import Likelihood, make_likelihood
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.nn.conditions import Label
from pyrogen.protocols import Step
from pyrogen.steps.gradient import GradientStep
from pyrogen.steps.svi import SVI

MIXTURE = 3
"""The components of the likelihood called ``mixture``."""


@dataclass(frozen=True)
class TrainingSetup:
    """The result of a recipe: a model, its training step and its data.

    Args:
        model: the network, with the capabilities of ``pyrogen.protocols``.
        step: the step that trains it.
        data: the data set, with the side information that the model needs.
        average: decay of the exponential moving average of the weights, which are the final weights of the run;
            ``None`` to select the weights with the best validation score.
        chosen: the values of options that the recipe has chosen by the rows of the data, by name: with them it builds
            the same model from the description of the data.
    """

    model: nn.Module
    step: Step
    data: Dataset
    average: float | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)


def svi(model: Any, lr: float, steps: int, program: Callable[..., Any] | None = None, **options: Any) -> SVI:
    """``SVI`` with Adam for a Pyro pair, whose model is ``program`` if given, else ``model.model``.

    Without a guide it is maximum likelihood.
    """
    guide = getattr(model, "guide", None)
    return SVI(program or model.model, guide, partial(Adam, lr=lr), schedule=cosine_schedule(steps), **options)


def pair_step(model: Any, data: Dataset, lr: float, steps: int, **options: Any) -> SVI:
    """``svi``; for vectors the norm of the gradient is clipped, as one outlier can otherwise end in NaN."""
    return svi(model, lr, steps, clip_norm=None if data.is_image else 10.0, **options)


def gradient_step(model: Any, lr: float, steps: int, compile: bool | None = None) -> GradientStep:
    """``GradientStep`` with Adam for a network with a method ``losses``."""
    return GradientStep(model.losses, partial(Adam, lr=lr), schedule=cosine_schedule(steps), compile=compile)


def adam_without_momentum(lr: float) -> Callable[..., Optimizer]:
    """Adam with β = (0, 0.9), as in adversarial training old gradients are soon outdated."""
    return partial(Adam, lr=lr, betas=(0.0, 0.9))


def cosine_schedule(steps: int, warmup: int = 200) -> Callable[[Any], LRScheduler]:
    """A schedule of linear warm-up and cosine decay to zero at the last step."""
    warmup = min(warmup, steps // 10 + 1)

    def factor(t: int) -> float:
        done = min(t / max(steps, 1), 1.0)
        return min(1.0, (t + 1) / warmup) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * done)).item())

    return partial(LambdaLR, lr_lambda=factor)


def observation_model(data: Dataset, name: str, sigma: float | str) -> Likelihood:
    """The observation model called ``name`` for the space of ``data``.

    ``auto`` is ``bernoulli`` for binary data, ``discretized_logistic`` for dequantised data in [0, 1], otherwise
    ``gaussian``, which has one σ for images, and one for each column of vectors.

    Raises:
        ConfigError: if the observation model does not fit the space of the data.
    """
    if name == "auto":
        name = {"binary": "bernoulli", "unit": "gaussian"}.get(data.space.support, "gaussian")
        if data.space.support == "unit" and data.space.levels:
            name = "discretized_logistic"
    unit = data.space.support == "unit"
    if name == "discretized_logistic" and not (unit and data.space.levels):
        raise ConfigError(
            f"the discretized_logistic likelihood needs dequantised grey levels; {data.name!r} is a {data.space}"
        )
    chosen: Likelihood
    if name == "mixture":
        chosen = MixtureLikelihood(MIXTURE, data.space.levels if unit else 0)
    else:
        columns = data.shape[0] if len(data.shape) == 1 else 0
        chosen = make_likelihood(name, data.space.levels, sigma, unit, columns)
    require_probability(data.space, chosen.probability, f"the {name} likelihood")
    return chosen


def require_images(data: Dataset, who: str) -> None:
    """Raise ``ConfigError`` unless ``data`` are images; ``who`` names the caller in the message."""
    if not data.is_image:
        raise ConfigError(f"{who} needs images; {data.name!r} has data of shape {data.shape}")


def require_labels(data: Dataset, who: str) -> None:
    """Raise ``ConfigError`` unless ``data`` have labels; ``who`` names the caller in the message."""
    if not data.classes:
        raise ConfigError(f"{who} needs labels; {data.name!r} has none")


def label_counts(data: Dataset) -> Tensor:
    """The number of training data of each class, ``(classes,)``."""
    return torch.tensor(data.description.label_counts)


def training_label(data: Dataset) -> Label:
    """The class label as side information, with the frequencies in training as p(y)."""
    require_labels(data, "condition=label")
    return Label(len(data.classes), label_counts(data))


def label_condition(data: Dataset, condition: str) -> Label | None:
    """The condition of a density: ``None``, or a ``Label`` with the frequencies in training as p(y)."""
    return None if condition == "none" else training_label(data)


def latent_for(data: Dataset, chosen: int | str, most: int) -> int:
    """The dimension of a code: the chosen one, or for ``auto`` ``most``, but at most half that of the data."""
    return min(most, max(data.dims // 2, 1)) if isinstance(chosen, str) else chosen


def network_for(data: Dataset, name: str) -> str:
    """``mlp`` or ``conv``; ``auto`` is ``conv`` for images."""
    if name == "conv":
        require_images(data, "network=conv")
    return ("conv" if data.is_image else "mlp") if name == "auto" else name


def training_rows(data: Dataset) -> Tensor:
    """The training data, or those that fit into memory, ``(n, *shape)``."""
    x, *_ = data.train.tensors()
    return x


def initial_value(data: Dataset, statistic: Callable[[Tensor], Tensor], shape: Sequence[int]) -> Tensor:
    """The initial value of a weight, ``statistic`` of the training data.

    Of a data set without rows it is NaN, to be replaced by that of a checkpoint.

    Args:
        data: the data set.
        statistic: of the training data ``(n, *shape)``.
        shape: that of the value.
    """
    return statistic(training_rows(data)) if data.has_rows else torch.full(tuple(shape), torch.nan)


def data_mean(data: Dataset) -> Tensor:
    """The mean of the training data as an initial value, of the shape of one datum."""
    return initial_value(data, lambda x: x.mean(0), data.shape)


def in_unit_interval(data: Dataset) -> bool:
    """Whether the data lie in [0, 1]."""
    return data.space.support in ("unit", "binary")
