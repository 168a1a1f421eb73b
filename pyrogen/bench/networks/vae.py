"""The VAE in all implementations: 784 - hidden - latent, Bernoulli, Adam."""

from collections.abc import Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from pyrogen.bench.pairs import Workload, pyro_step
from pyrogen.bench.timing import CHUNK, Contender, synchronise
from pyrogen.data.dataset import Split
from pyrogen.data.noise import Binarise
from pyrogen.nn.conv import ConvDown, ConvUp
from pyrogen.training.loop import fit

SHAPE = (1, 28, 28)


class PyroVAE(nn.Module):
    """The pair of Pyro's own example, with logits in place of probabilities.

    Args:
        hidden: the width of the hidden layer, or of the first convolution.
        latent: the dimension of z.
        conv: convolutional networks in place of fully connected ones.
    """

    def __init__(self, hidden: int = 400, latent: int = 50, conv: bool = False) -> None:
        super().__init__()
        self.latent = latent
        if conv:
            self.encoder: nn.Module = ConvDown(SHAPE, 2 * latent, hidden)
            self.decoder: nn.Module = nn.Sequential(ConvUp(latent, SHAPE, hidden), nn.Flatten())
        else:
            self.encoder = nn.Sequential(nn.Linear(784, hidden), nn.Softplus(), nn.Linear(hidden, 2 * latent))
            self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.Softplus(), nn.Linear(hidden, 784))

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            zero = x.new_zeros(len(x), self.latent)
            z = pyro.sample("z", dist.Normal(zero, torch.ones_like(zero)).to_event(1))
            logits = self.decoder(z).float()
            pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=False).to_event(1), obs=x.flatten(1))

    def guide(self, x: Tensor) -> None:
        """q(z | x)."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).float().chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def by_hand(self, x: Tensor) -> Tensor:
        """The same loss written in torch."""
        loc, log_scale = self.encoder(x).float().chunk(2, -1)
        scale = log_scale.exp()
        z = loc + scale * torch.randn_like(scale)
        logits = self.decoder(z).float()
        log_q = -0.5 * ((z - loc) / scale).square() - log_scale
        log_p = -0.5 * z.square()
        x = x.flatten(1)
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") - log_p.sum() + log_q.sum()


def vae(batch_size: int, device: torch.device, hidden: int = 400, latent: int = 50, conv: bool = False) -> Workload:
    """The workload: a VAE, fully connected or convolutional."""
    x = (torch.rand(CHUNK, batch_size, *(SHAPE if conv else (784,)), device=device) < 0.13).float()
    return Workload(lambda: PyroVAE(hidden, latent, conv), (x,), PyroVAE.by_hand)


def with_data(pair: Workload) -> Contender:
    """Pyrogen's training loop, with its batches from 60,000 grey images; its body runs after every ``CHUNK`` steps."""
    step, (_, batch_size, *event) = pair.step(compile=True), pair.data[0].shape
    grey = torch.randint(0, 256, (60_000, *event), dtype=torch.uint8, device=pair.device)
    loop = fit(step, Split(grey, noise=Binarise(255)), steps=2**62, batch_size=batch_size, every=CHUNK)

    def once(t: int) -> None:
        if t % CHUNK == 0:
            next(loop)

    return Contender("pyrogen compiled, with its data", once, synchronise)


def with_loader(batch_size: int, hidden: int = 400, latent: int = 50) -> Contender:
    """Pyro's example as published: its ``SVI`` and a ``DataLoader`` of images with ``ToTensor``, both timed."""
    step = pyro_step(PyroVAE(hidden, latent))
    loader = DataLoader(_GreyImages(60_000), batch_size, shuffle=True, drop_last=True)

    def endless() -> Iterator[Tensor]:
        while True:
            for images in loader:
                yield images.reshape(-1, 784)

    source = endless()
    return Contender("Pyro SVI.step, DataLoader", lambda _: step(next(source)))


class _GreyImages(Dataset[Tensor]):
    """Performs the same work per item as torchvision's MNIST."""

    def __init__(self, n: int) -> None:
        self.grey, self.transform = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8), ToTensor()

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, i: int) -> Tensor:
        image: Tensor = self.transform(Image.fromarray(self.grey[i].numpy()))
        return image


def matmuls(batch_size: int, device: torch.device, hidden: int = 400, latent: int = 50) -> Contender:
    """A lower bound: only the matrix products of one step, forward and backward."""
    layers = [(784, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, 784)]
    pairs = []
    for i, (inputs, outputs) in enumerate(layers):
        x, w, g = (
            torch.randn(s, device=device) for s in ((batch_size, inputs), (inputs, outputs), (batch_size, outputs))
        )
        pairs += [(x, w), (x.t(), g)] + ([(g, w.t())] if i else [])  # the gradient of the data is not needed
    return Contender("matrix products alone", lambda _: [a @ b for a, b in pairs], synchronise)


def pythae(batch_size: int, hidden: int = 400, latent: int = 50) -> Contender:
    """Pythae's VAE of the same size in a plain training loop."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(784, hidden), nn.Softplus())
            self.loc, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

        def forward(self, x: Tensor) -> Any:
            h = self.layers(x)
            return ModelOutput(embedding=self.loc(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(latent, hidden), nn.Softplus(), nn.Linear(hidden, 784), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    config = VAEConfig(input_dim=(784,), latent_dim=latent, reconstruction_loss="bce")
    vae = VAE(config, Encoder(), Decoder())
    optimizer = Adam(vae.parameters(), lr=1e-3, fused=True)
    x = (torch.rand(20, batch_size, 784) < 0.13).float()

    def once(t: int) -> None:
        optimizer.zero_grad()
        vae({"data": x[t % 20]}).loss.backward()
        optimizer.step()

    return Contender("Pythae", once)
