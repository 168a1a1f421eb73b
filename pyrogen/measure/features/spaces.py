"""Feature spaces by name.

| Name | Features |
|---|---|
| ``values`` | the data: images in [0, 1] pixel by pixel, standardised columns of vectors |
| ``classifier`` | the last hidden layer of the library's classifier of labelled images |
| ``inception`` | torchvision's Inception-v3, where its weights lie on the machine |

Any callable, such as a user's network, is a feature space too: it takes data in the form of ``Space.to_comparable``,
images ``(n, channel, height, width)`` in [0, 1], and returns ``(n, d)``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.measure.features.classifier import LEAST_SIDE, Classifier, get_classifier
from pyrogen.measure.features.inception import Inception, weights_file
from pyrogen.nn.eval_mode import eval_mode

NAMES = ("values", "classifier", "inception")
MOST_SIDE = 64
"""The largest side of images, in pixels, for which a comparison trains the classifier unasked: it takes minutes."""
FeatureSpace = str | Classifier | Callable[[Tensor], Any]
"""A name, a trained classifier, or any callable ``data -> (n, d)``."""


def default_spaces(data: Dataset) -> tuple[str, ...]:
    """The spaces of a comparison: ``values``, and ``classifier`` for labelled images of at most 64 × 64 pixels."""
    return ("values", "classifier") if _classifiable(data) and max(data.shape[1:]) <= MOST_SIDE else ("values",)


def _classifiable(data: Dataset) -> bool:
    return data.is_image and bool(data.classes) and min(data.shape[1:]) >= LEAST_SIDE


def check_spaces(spaces: Sequence[FeatureSpace], data: Dataset) -> None:
    """Raise unless each space can be used with these data; nothing is trained.

    Raises:
        ConfigError: for an unknown name, ``classifier`` without labelled images, ``inception`` without images or
            without its weights.
    """
    for space in spaces:
        if not isinstance(space, str):
            continue
        if space not in NAMES:
            raise ConfigError(f"unknown feature space {space!r}; expected one of {', '.join(NAMES)}, or a callable")
        if space == "classifier" and not _classifiable(data):
            raise ConfigError(
                f"the feature space 'classifier' needs labelled images of at least {LEAST_SIDE} × {LEAST_SIDE} pixels; "
                f"{data.name!r} has shape {data.shape} and {len(data.classes)} classes"
            )
        if space == "inception":
            if not data.is_image:
                raise ConfigError(f"the feature space 'inception' needs images; {data.name!r} has shape {data.shape}")
            weights_file()


def space_name(space: FeatureSpace) -> str:
    """The name after ``@`` in a score's name: the space's, or that of the function or class."""
    if isinstance(space, str):
        return space
    return "classifier" if isinstance(space, Classifier) else getattr(space, "__name__", type(space).__name__)


def feature_map(space: FeatureSpace, data: Dataset) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """The map of a space, ``data -> (features (n, d), log p(y | x) or None)``; a classifier may be trained for it.

    Raises:
        ConfigError: as ``check_spaces``, and from the map for features of another form.
    """
    check_spaces([space], data)
    if space == "values":
        return lambda x: (x.flatten(1), None)
    device = data.train.device
    if space == "classifier":
        return get_classifier(data, device=device)
    if isinstance(space, Classifier):
        return space
    network: Any = Inception(device=device) if space == "inception" else space
    return lambda x: (_of_network(network, x), None)


@torch.no_grad()
def _of_network(network: Callable[[Tensor], Any], x: Tensor, rows: int = 1000) -> Tensor:
    with eval_mode(network):
        parts = []
        for part in x.split(rows):
            given = network(part)
            if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != len(part):
                got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
                raise ConfigError(
                    f"the feature space {space_name(network)!r}: expected features ({len(part)}, d), got {got}"
                )
            parts.append(given)
    return torch.cat(parts)
