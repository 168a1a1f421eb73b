"""Training data from a model: more data of each class, and what they are worth to a classifier.

The classification accuracy score is the accuracy on real test data of a classifier that was trained on samples alone
(Ravuri and Vinyals, "Classification accuracy score for conditional generative models", NeurIPS 2019).
"""

from dataclasses import replace
from typing import Any, Literal

import torch

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import ConfigError
from pyrogen.measure.features import get_classifier
from pyrogen.measure.samples import draw_samples
from pyrogen.nn.conditions import Label
from pyrogen.protocols import Score

Training = Literal["real", "synthetic", "both"]


def augment(data: Dataset, model: Any, per_class: int, *, real: bool = True, seed: int = 0) -> Dataset:
    """The data set with samples of a class-conditional model among the training data; the other splits are unchanged.

    Args:
        data: a labelled data set.
        model: a sampler conditional on its labels.
        per_class: the samples of each class.
        real: whether the training data are kept.
        seed: of the samples.

    Raises:
        ConfigError: if the model is not conditional on the labels of ``data``, or for no samples.
    """
    if per_class < 1:
        raise ConfigError(f"expected at least one sample of each class; got per_class={per_class}")
    condition = getattr(model, "condition", None)
    if not isinstance(condition, Label) or condition.features != len(data.classes):
        raise ConfigError(
            f"augmentation needs a model conditional on the {len(data.classes)} classes of {data.name}; "
            f"this {type(model).__name__} is not"
        )
    y = torch.arange(len(data.classes)).repeat_interleave(per_class)
    x = draw_samples(model, data, len(y), seed, y.to(condition.probs.device)).cpu()
    if real:
        kept, labels, *_ = data.with_side_information(None).train.tensors(seed)
        x, y = torch.cat([kept.cpu(), x]), torch.cat([labels.cpu(), y])
    name = f"{data.name} + {per_class} of each class" if real else f"{per_class} of each class for {data.name}"
    return replace(data, name=name, train=Split(x, y, space=data.train.space))


def first_per_class(data: Dataset, per_class: int) -> Dataset:
    """The data set with the first ``per_class`` training data of each class alone.

    Raises:
        ConfigError: if a class has fewer.
    """
    y = data.train.y
    if y is None or not data.classes:
        raise ConfigError(f"{data.name} has no labels")
    rows = [(y == label).nonzero().flatten()[:per_class] for label in range(len(data.classes))]
    few = [data.classes[i] for i, found in enumerate(rows) if len(found) < per_class]
    if few:
        raise ConfigError(f"expected {per_class} training data of each class; there are fewer of {', '.join(few)}")
    name = f"{data.name}, {per_class} of each class"
    return replace(data, name=name, train=data.train.select(torch.cat(rows)))


def classification_accuracy(data: Dataset, device: torch.device | str = "cpu") -> Score:
    """The accuracy on test data of the library's classifier, trained on the training data.

    Args:
        data: real, augmented or synthetic training data, with real test data.
        device: for training.
    """
    accuracy, n = get_classifier(data, device=device).accuracy, len(data.test)
    return Score(accuracy, (accuracy * (1 - accuracy) / n) ** 0.5, "statistic", "accuracy", {"n": n})
