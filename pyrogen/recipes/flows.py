"""Recipes of normalising flows."""

from torch import nn

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require
from pyrogen.errors import unknown
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.flow import Flow, autoregressive, coupling, multiscale
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.spline import Spline
from pyrogen.explicit.transforms import Affine, Logit, Standardise
from pyrogen.nn.conditions import Condition
from pyrogen.recipes.setup import TrainingSetup, label_condition, require_images, svi


def realnvp(
    data: Dataset,
    *,
    layers: int = 6,
    hidden: tuple[int, ...] = (128, 128),
    network: str = "mlp",
    scale: bool = True,
    condition: str = "none",
    steps: int = 5000,
    batch_size: int = 256,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Affine coupling flow: Real NVP, or NICE without scales (exact log-likelihood)."""
    if network not in ("mlp", "conv"):
        raise unknown("network", network, ("mlp", "conv"))
    given = label_condition(data, condition)
    if network == "conv":
        require_images(data, "network=conv")
        maps = multiscale(data.shape, layers, hidden[0], len(hidden), Affine(scale), _context(given))
    else:
        maps = coupling(data.shape, layers, hidden, Affine(scale), _context(given))
    return _setup(data, Flow(data.shape, [*real_line(data), *maps], condition=given), lr, steps)


def maf(
    data: Dataset,
    *,
    layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    components: int = 10,
    condition: str = "none",
    steps: int = 5000,
    batch_size: int = 256,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Masked autoregressive flow, over a mixture or a normal base (exact log-likelihood)."""
    given = label_condition(data, condition)
    maps = [*real_line(data), *autoregressive(data.shape, layers, hidden, context=_context(given))]
    return _setup(data, Flow(data.shape, maps, _base(data, hidden, components, condition), given), lr, steps)


def spline(
    data: Dataset,
    *,
    layers: int = 1,
    hidden: tuple[int, ...] = (128, 128),
    bins: int = 64,
    form: str = "autoregressive",
    components: int = 32,
    condition: str = "none",
    steps: int = 6000,
    batch_size: int = 256,
    lr: float = 1e-2,
) -> TrainingSetup:
    """Rational-quadratic spline flow, autoregressive or coupling (exact log-likelihood)."""
    forms = {"autoregressive": autoregressive, "coupling": coupling}
    if form not in forms:
        raise unknown("form", form, forms)
    given = label_condition(data, condition)
    maps = [*real_line(data), *forms[form](data.shape, layers, hidden, Spline(bins), _context(given))]
    return _setup(data, Flow(data.shape, maps, _base(data, hidden, components, condition), given), lr, steps)


def real_line(data: Dataset) -> list[nn.Module]:
    """The maps that bring data to the real line and to zero mean and unit deviation."""
    require(data.space, Flow.probability, "a flow")
    x, *_ = data.train.tensors()
    first = [Logit()] if data.space.support == "unit" else []
    for step in first:
        x, _ = step(x)
    return [*first, Standardise(x.mean(0), x.std(0, correction=0).clamp_min(1e-6))]


def _context(condition: Condition | None) -> int:
    """How many features of side information the networks take."""
    return 0 if condition is None else condition.features


def _base(data: Dataset, hidden: tuple[int, ...], components: int, condition: str) -> MADE | None:
    """An autoregressive mixture over noise of the data's size; for one component the standard normal."""
    if components == 1:
        return None
    return MADE((data.dims,), hidden, MixtureLikelihood(components), condition=label_condition(data, condition))


def _setup(data: Dataset, model: Flow, lr: float, steps: int) -> TrainingSetup:
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)
