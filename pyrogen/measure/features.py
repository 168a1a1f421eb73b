"""A classifier whose features judge samples: trained once, cached, and its accuracy reported.

Images are ``(n, channel, height, width)`` in [0, 1]. The network is of LeNet's kind: LeCun et al., "Gradient-based
learning applied to document recognition", Proc. IEEE 1998.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from pyrogen.data.batches import batches
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole
from pyrogen.measure.fid import fid, inception_score, kid, precision_recall
from pyrogen.nn.conv import image_shape
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Score
from pyrogen.random import derive, scoped_seed

STEPS, BATCH_SIZE, LR = 2000, 128, 3e-3
"""About four epochs of MNIST: over 99% of the test set in a minute of one core."""
MANIFOLD_ROWS = 2000
"""How many rows precision and recall are taken on: their cost is quadratic."""


class LeNet(nn.Module):
    """Two convolutions with pooling and a hidden layer, whose 128 activations are the features.

    Args:
        shape: ``(channel, height, width)``, sides of at least 4.
        classes: how many labels there are.
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
        """Logits of the classes, ``(batch, classes)``."""
        logits: Tensor = self.head(self.body(2 * x - 1))
        return logits


@dataclass(frozen=True)
class Classifier:
    """A trained judge.

    Args:
        net: the network.
        accuracy: its share of right answers on the test split.
    """

    net: LeNet
    accuracy: float

    @torch.no_grad()
    def __call__(self, images: Tensor, rows: int = 1000) -> tuple[Tensor, Tensor]:
        """Features ``(n, 128)`` and ``log p(y | x)``, ``(n, classes)``, of images in [0, 1]."""
        device = next(self.net.parameters()).device
        with eval_mode(self.net):
            features = torch.cat([self.net.body(2 * part.to(device) - 1) for part in images.split(rows)])
            return features, self.net.head(features).log_softmax(1)


def classifier(
    data: Dataset, cache: Path | None = None, device: torch.device | str = "cpu", steps: int = STEPS
) -> Classifier:
    """The judge of ``data``, from the cache if it is there whole, else trained (a minute or two) and kept there.

    Args:
        data: labelled images, such as ``mnist``.
        cache: a folder; by default ``pyrogen`` in the user's cache.
        device: where it is trained and judges.
        steps: batches of training.

    Raises:
        ConfigError: if the data are no images, or have no labels.
    """
    if not (data.is_image and data.classes):
        raise ConfigError(
            f"a classifier needs labelled images; {data.name!r} has shape {data.shape}, and {len(data.classes)} classes"
        )
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pyrogen").expanduser()
    rows = hashlib.blake2b(data.train.x[data.train.sample_index].cpu().numpy().tobytes(), digest_size=8).hexdigest()
    path = home / f"lenet-{data.name}-{rows}-{steps}.safetensors"
    with scoped_seed(derive(0, "classifier")):
        net = LeNet(data.shape, len(data.classes))
        whole = _restore(net, path)
        if not whole:
            _train(net.to(device), data, steps)
    if not whole:
        weights = save({name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(weights).digest() + weights)
    judge = Classifier(net.to(device), 0.0)
    x, y = data.test.tensors()
    _, log_prob = judge(data.space.to_image(x))
    return Classifier(net, float((log_prob.argmax(1).cpu() == y.cpu()).float().mean()))


def _restore(net: LeNet, path: Path) -> bool:
    """Whether the weights at ``path`` were there, whole, and are now in ``net``."""
    if not path.exists():
        return False
    checksum, weights = (content := path.read_bytes())[:32], content[32:]
    if hashlib.sha256(weights).digest() != checksum:
        return False
    net.load_state_dict(load(weights))
    return True


@torch.enable_grad()
def _train(net: LeNet, data: Dataset, steps: int) -> None:
    device = next(net.parameters()).device
    optimizer = Adam(net.parameters(), LR)
    schedule = OneCycleLR(optimizer, LR, total_steps=steps)
    for _, (x, y) in zip(range(steps), batches(data.train, BATCH_SIZE, device=device), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(net(data.space.to_image(x)), y).backward()
        optimizer.step()
        schedule.step()


def feature_scores(samples: Tensor, data: Dataset, judge: Classifier) -> dict[str, Score]:
    """What a judge's features say of samples: ``fid``, ``kid``, ``inception_score``, ``precision`` and ``recall``.

    The reference is the training data. ``test`` in the detail is the value of as many test data in place of samples,
    and ``ratio`` the quotient: below 1 the samples are nearer to the training data than test data are.

    Args:
        samples: ``(n, *shape)`` in the space of the data.
        data: the data set.
        judge: of this data.
    """
    see = data.space.to_image
    (made, made_log), (test, test_log) = judge(see(samples)), judge(see(data.test.tensors()[0][: len(samples)]))
    train, _ = judge(see(data.train.tensors()[0]))
    scores, others = (
        {"fid": fid(f, train), "inception_score": inception_score(log_p)}
        for f, log_p in ((made, made_log), (test, test_log))
    )
    n = min(len(made), len(test), MANIFOLD_ROWS)
    scores |= {"kid": kid(made, train[: len(made)])} | precision_recall(made[:n], train[:n])
    others |= {"kid": kid(test, train[: len(test)])} | precision_recall(test[:n], train[:n])
    for name, score in scores.items():
        value = others[name].value
        scores[name] = replace(score, detail={**score.detail, "test": value, "ratio": score.value / value})
    return scores
