"""Features of torchvision's Inception-v3, from weights that lie on the machine.

Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.torch_file import read_torch_file

FILE = "inception_v3_google-0cc3c7bd.pth"
"""The name that torchvision gives to the weights."""
SIDE = 299
"""The side of the images that the network takes, in pixels."""


class Inception:
    """``images (n, 1 or 3, h, w) in [0, 1] -> (n, 2048)``, the activations before the last layer.

    Grey images are repeated to three channels, and images are resized to 299 × 299 pixels by bilinear interpolation.

    These are torchvision's weights, trained on ImageNet. The FID and KID of publications use other weights of the
    same architecture, from TensorFlow, and another resizing: values compare only with values of this space.

    Args:
        path: the file of weights; by default ``inception_v3_google-0cc3c7bd.pth`` in torch's hub cache. It is never
            downloaded.
        device: the device for evaluation.

    Raises:
        ConfigError: if the file does not exist, or holds something else.
    """

    def __init__(self, path: str | Path | None = None, device: torch.device | str = "cpu") -> None:
        from torchvision.models import Inception3

        file = weights_file(path)
        self.net = Inception3(init_weights=False)
        try:
            self.net.load_state_dict(read_torch_file(file))
        except Exception as error:  # what is no state of this network fails in many ways
            raise ConfigError(f"{file}: expected the weights of torchvision's Inception-v3; {error}") from error
        self.net.fc = nn.Identity()
        self.net.to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, images: Tensor, rows: int = 50) -> Tensor:
        """Return the features of images, of ``rows`` at a time."""
        with eval_mode(self.net):
            return torch.cat([self.net(_prepared(part.to(self.device))) for part in images.split(rows)])


def weights_file(path: str | Path | None = None) -> Path:
    """The file of weights; raises ``ConfigError`` with how to get it if it does not exist."""
    file = Path(path) if path is not None else Path(torch.hub.get_dir(), "checkpoints", FILE)
    if not file.is_file():
        raise ConfigError(
            f"the feature space 'inception' needs {file}, which does not exist, and pyrogen downloads no weights: "
            f"get it by python -c 'from torchvision.models import inception_v3; inception_v3(weights=\"DEFAULT\")'"
        )
    return file


def _prepared(images: Tensor) -> Tensor:
    """Colour images in [-1, 1] of the network's size."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ConfigError(f"Inception-v3 takes images (n, 1 or 3, h, w); got shape {tuple(images.shape)}")
    colour = images.float().expand(-1, 3, -1, -1)
    return 2 * F.interpolate(colour, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True) - 1
