"""How closely Hamiltonian Monte Carlo over z restores, where p(x | y) is known in closed form.

    OMP_NUM_THREADS=1 python docs/scripts/hmc_restoration.py

PPCA of digits with 10 components is used as a decoder that does not say that it is PPCA. Images are drawn from it, the
left half of each is seen. Printed are the relative error of the mean of the hidden half, about its mean over data, the
relative error of its standard deviations, and how often the 90% interval of draws holds the hidden value.
"""

import argparse

import torch
from torch import nn

import pyrogen
from pyrogen import use
from pyrogen.explicit import PPCA


class Decoder(nn.Module):
    """PPCA by its decoder and its observation noise alone."""

    def __init__(self, ppca: PPCA) -> None:
        super().__init__()
        self.latent, self.decode, self.observation_dist = ppca.latent, ppca.decode, ppca.observation_dist


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=60, help="images")
    parser.add_argument("--draws", type=int, default=10_000, help="for each image")
    given = parser.parse_args()
    data = pyrogen.load("digits")
    ppca = PPCA.from_data(data.train.tensors()[0], 10)
    torch.manual_seed(0)
    x = ppca.sample(given.n)
    left = torch.zeros(data.shape, dtype=torch.bool)
    left[..., : data.shape[-1] // 2] = True
    half, hidden = use.Mask(left), ~left
    exact, found = (use.restore(model, half(x), half, data.shape, draws=given.draws) for model in (ppca, Decoder(ppca)))
    truth, mean = exact.mean[:, hidden], found.mean[:, hidden]
    spread, drawn = (part.draws.std(1)[:, hidden] for part in (exact, found))
    low, high = (found.draws.quantile(q, 1)[:, hidden] for q in (0.05, 0.95))
    covered = ((low <= x[:, hidden]) & (x[:, hidden] <= high)).float().mean()
    error = (mean - truth).norm() / (truth - truth.mean(0)).norm()
    print(
        f"{found.method} of {given.n} images with {given.draws} draws each: acceptance {found.detail['acceptance']:.2f}"
    )
    deviations = float((drawn / spread - 1).mean())
    print(f"relative error of the mean {float(error):.2%}, of standard deviations {deviations:+.2%}")
    print(f"coverage of 90% intervals {float(covered):.1%}")


if __name__ == "__main__":
    main()
