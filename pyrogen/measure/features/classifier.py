"""A classifier whose features are used to score samples; it is trained once and cached.

Images are ``(n, channel, height, width)`` in [0, 1]. The network is a variant of LeNet: LeCun et al., "Gradient-based
learning applied to document recognition", Proc. IEEE 1998.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from pyrogen.data.dataset import Dataset
from pyrogen.data.fingerprint import fingerprint
from pyrogen.errors import ConfigError, RunError
from pyrogen.files import write_whole
from pyrogen.nn.conv import image_shape
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.random import derive, scoped_seed
from pyrogen.steps.gradient import GradientStep
from pyrogen.training.loop import fit

STEPS, EPOCHS, BATCH_SIZE, LR = 2000, 40, 128, 3e-3
"""2,000 steps are five epochs of MNIST, an accuracy above 99% on its test set; small data sets get 40 epochs."""
LEAST_SIDE = 4
"""The smallest side of an image, in pixels, which is pooled twice."""


class LeNet(nn.Module):
    """Two convolutions with pooling and a hidden layer, whose 128 activations are the features.

    Args:
        shape: ``(channel, height, width)``, sides of at least 4.
        classes: the number of classes.
    """

    def __init__(self, shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        channels, height, width = image_shape(shape)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(50 * (height // 4) * (width // 4), 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return class logits, ``(batch, classes)``."""
        logits: Tensor = self.head(self.body(2 * x - 1))
        return logits


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Args:
        net: the network.
        accuracy: its accuracy on the test split.
    """

    net: LeNet
    accuracy: float

    @torch.no_grad()
    def __call__(self, images: Tensor, rows: int = 1000) -> tuple[Tensor, Tensor]:
        """Return features ``(n, 128)`` and ``log p(y | x)``, ``(n, classes)``, of images in [0, 1]."""
        device = next(self.net.parameters()).device
        with eval_mode(self.net):
            features = torch.cat([self.net.body(2 * part.to(device) - 1) for part in images.split(rows)])
            return features, self.net.head(features).log_softmax(1)


def get_classifier(
    data: Dataset, cache: Path | None = None, device: torch.device | str = "cpu", steps: int | None = None
) -> Classifier:
    """Load the classifier for ``data`` from the cache, or train it (a minute or two) and cache it.

    It is trained on the labels of the training split, whatever side information models of these data are given.

    Args:
        data: labelled images, such as ``mnist``.
        cache: a folder; by default ``pyrogen`` in the user's cache.
        device: the device for training and evaluation.
        steps: the number of training steps; by default 2,000, or 40 epochs if that is less.

    Raises:
        ConfigError: if the data are not images, or have no labels.
    """
    if not (data.is_image and data.classes):
        raise ConfigError(
            f"expected labelled images; {data.name!r} has shape {data.shape} and {len(data.classes)} classes"
        )
    data = data.with_side_information(None)
    batch_size = min(BATCH_SIZE, len(data.train))
    steps = steps or min(STEPS, EPOCHS * (len(data.train) // batch_size))
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pyrogen").expanduser()
    name = re.sub(r"[^\w.-]+", "_", Path(data.name).name)
    trained_on = fingerprint(data, ["train"]) + repr(data.classes)
    rows = hashlib.blake2b(trained_on.encode(), digest_size=8).hexdigest()
    path = home / f"lenet-{name}-{rows}-{steps}.safetensors"
    with scoped_seed(derive(0, "classifier")):
        net = LeNet(data.shape, len(data.classes))
        cached = _restore(net, path)
        if not cached:
            with torch.enable_grad():
                _train(net.to(device), data, steps, batch_size, device)
    if not cached:
        weights = save({name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()})
        with suppress(OSError, RunError):  # a cache that cannot be written only costs the next training
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, hashlib.sha256(weights).digest() + weights)
    classifier = Classifier(net.to(device), 0.0)
    x, y, *_ = data.test.tensors()
    _, log_prob = classifier(data.space.to_comparable(x))
    return Classifier(net, float((log_prob.argmax(1).cpu() == y.cpu()).float().mean()))


def _restore(net: LeNet, path: Path) -> bool:
    """Load the weights at ``path`` into ``net``; return whether they exist and are valid."""
    if not path.exists():
        return False
    checksum, weights = (content := path.read_bytes())[:32], content[32:]
    if hashlib.sha256(weights).digest() != checksum:
        return False
    net.load_state_dict(load(weights))
    return True


def _train(net: LeNet, data: Dataset, steps: int, batch_size: int, device: torch.device | str) -> None:
    def losses(x: Tensor, y: Tensor, *_: Tensor) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(net(data.space.to_comparable(x)), y)}

    schedule = partial(OneCycleLR, max_lr=LR, total_steps=steps)
    step = GradientStep(losses, partial(Adam, lr=LR), schedule=schedule, compile=False)
    for _ in fit(step, data.train, steps=steps, batch_size=batch_size, device=device):
        pass
