"""VAE-10, GAN-10, VAE-50 and GAN-50 with the decoders of Wu et al. (ICLR 2017), judged as they were.

    python docs/scripts/published_decoders.py vae --latent 10 --n 200
    python docs/scripts/published_decoders.py gan --latent 10 --n 200 --steps 40000 --batch-size 256 --minutes 40

Data are (x + u) / 256. Printed are the bound by annealed importance sampling with its gap and the noise that was chosen
on validation data, the importance-weighted bound of the VAE with its own noise or the kernel estimate, and the time.
The GAN is one with a Wasserstein loss and a gradient penalty.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import cos, pi, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

import pyrogen
from pyrogen.data import Dataset
from pyrogen.explicit import VAE, GaussianLikelihood
from pyrogen.measure import ais
from pyrogen.objectives import GradientPenalty, Wasserstein
from pyrogen.training import ExponentialMovingAverage

DECODERS = {10: (64, 256, 256, 1024), 50: (1024, 1024, 1024)}


def mlp(widths: tuple[int, ...], activation: Callable[[], nn.Module], *last: nn.Module) -> nn.Sequential:
    """Linear layers with activations between them."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1], *last)


class Generator(nn.Module):
    """A decoder of the paper with a sigmoid at its end, as a sampler with a standard normal prior."""

    def __init__(self, latent: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.latent = latent
        end = nn.Sequential(nn.Sigmoid(), nn.Unflatten(1, shape))
        self.network = mlp((latent, *DECODERS[latent], prod(shape)), nn.Tanh, end)

    def prior(self, n: int) -> Tensor:
        """z, ``(n, latent)``."""
        return torch.randn(n, self.latent)

    def generator(self, z: Tensor) -> Tensor:
        """E[x | z]."""
        x: Tensor = self.network(z)
        return x

    def sample(self, n: int) -> Tensor:
        """Draw ``(n, *shape)``."""
        return self.generator(self.prior(n))


class Decoded(nn.Module):
    """The decoder of a VAE as a sampler without noise, for which σ is chosen on validation data, as in the paper.

    The σ that is learned with the weights fits training data, whose residuals are smaller.
    """

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae, self.latent = vae, vae.latent

    def prior(self, n: int) -> Tensor:
        """z, ``(n, latent)``."""
        return torch.randn(n, self.latent)

    def generator(self, z: Tensor) -> Tensor:
        """E[x | z]."""
        return self.vae.decode(z)

    def sample(self, n: int) -> Tensor:
        """Draw ``(n, *shape)``."""
        return self.generator(self.prior(n))


def decay_late(optimizer: Optimizer, steps: int) -> LambdaLR:
    """A constant rate for three quarters of the steps, then a cosine to 0."""
    return LambdaLR(optimizer, lambda t: 0.5 + 0.5 * cos(pi * max(4 * t / steps - 3, 0.0)))


def vae_and_step(data: Dataset, latent: int, schedule: Any) -> tuple[nn.Module, Any]:
    """A VAE with the paper's decoder and one learned σ."""
    x = data.train.tensors()[0]
    vae = VAE(data.shape, latent, (512, 512), GaussianLikelihood("learned"), mean=x.mean(0))
    vae.decoder = mlp((latent, *DECODERS[latent], data.dims), nn.Tanh, nn.Unflatten(1, data.shape))
    return vae, pyrogen.SVI(vae.model, vae.guide, optim=partial(Adam, lr=1e-3), schedule=schedule)


def gan_and_step(data: Dataset, latent: int, schedule: Any) -> tuple[nn.Module, Any]:
    """A GAN with the paper's generator."""
    model = Generator(latent, data.shape)
    critic = nn.Sequential(nn.Flatten(), mlp((data.dims, 512, 512, 256, 1), partial(nn.LeakyReLU, 0.2), nn.Flatten(0)))
    optimisers = (partial(Adam, lr=5e-4, betas=(0.0, 0.9)), partial(Adam, lr=1e-3, betas=(0.0, 0.9)))
    step = pyrogen.AdversarialGame(
        model.network,
        critic,
        model.prior,
        Wasserstein(),
        optimisers,
        critic_steps=3,
        penalty=GradientPenalty(10.0),
        schedule=schedule,
        compile=True,
    )
    return model, step


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("vae", "gan"))
    parser.add_argument("--latent", type=int, choices=DECODERS, default=10)
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--n", type=int, default=200, help="test images, at random")
    parser.add_argument("--gap", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=Path("runs/published"))
    given = parser.parse_args()
    torch.manual_seed(0)
    data = pyrogen.load("mnist")
    schedule = partial(decay_late, steps=given.steps)
    model, step = (vae_and_step if given.kind == "vae" else gan_and_step)(data, given.latent, schedule)
    average = ExponentialMovingAverage(model, 0.999)
    folder = given.out / f"{given.kind}-{given.latent}"
    parts: dict[str, Any] = {"model": model, "step": step, "average": average}
    start = pyrogen.restore(folder, **parts) if any(folder.glob("checkpoint-*")) else 0
    rows = {"steps": given.steps, "batch_size": given.batch_size, "start": start}
    for t, logs in pyrogen.fit(step, data.train, seed=0, **rows):
        average.update(model)
        if t % max(given.steps // 20, 1) == 0:
            print(f"step {t}", *(f"{name} {float(value):.4g}" for name, value in logs.items()), flush=True)
            pyrogen.save(folder, t=t, **parts)
    began = time.perf_counter()
    goal = {"gap": given.gap, "minutes": given.minutes, "n": given.n, "folder": folder / "ais"}
    judged = Decoded(average.module) if given.kind == "vae" else average.module
    score = ais(judged, data, **goal, show=lambda progress: print(progress.text, flush=True))
    detail = {name: value for name, value in score.detail.items() if name != "rate_distortion"}
    print(f"{given.kind.upper()}-{given.latent}: {score}; {detail}; {time.perf_counter() - began:.0f} s")
    for name, other in pyrogen.evaluate(average.module, data.test, k=500).items():
        print(f"{name}: {other}")


if __name__ == "__main__":
    main()
