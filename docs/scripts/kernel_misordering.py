"""The kernel-density estimate and annealed importance sampling of generators whose density is known.

    python docs/scripts/kernel_misordering.py --data digits mnist

The truth is PPCA, x = W z + μ + σ ε, fitted to a data set; all data are drawn from it. Judged on them are

- the truth itself;
- a singular generator x = W' z + μ without noise, W' the half of W with the larger columns: its samples lie in a plane;
- a list of the k-means centres of training data, which it repeats: its samples are as many points.

The last two have a density with Gaussian noise of the σ that fits validation data best, and it is known: PPCA with W'
and σ, and a mixture of as many Gaussians. That centres have a higher kernel estimate than the truth was found by Theis,
van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016; that the estimate misorders
decoders by Wu et al., "On the quantitative analysis of decoder-based generative models", ICLR 2017.
"""

import argparse
from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans
from torch import Tensor

import pyrogen
from pyrogen.data import Dataset, Space, Split
from pyrogen.explicit import PPCA, KernelDensity
from pyrogen.measure import ais, kde_score

SAMPLES = 10_000
"""Of a kernel estimate, as ``evaluate`` takes."""


class Plane:
    """A linear generator without noise, W z + μ, of vectors.

    Args:
        model: PPCA, whose W and μ are taken.
        latent: the number of columns of W that are kept, the largest ones.
    """

    def __init__(self, model: PPCA, latent: int) -> None:
        largest = model.weight.square().sum(0).argsort(descending=True)[:latent]
        self.mean, self.weight, self.latent = model.mean.detach(), model.weight.detach()[:, largest], latent

    def generator(self, z: Tensor) -> Tensor:
        """E[x | z]."""
        return z @ self.weight.T + self.mean

    def sample(self, n: int) -> Tensor:
        """Draw ``(n, d)``."""
        return self.generator(torch.randn(n, self.latent))

    def with_noise(self, sigma: float) -> PPCA:
        """The density of W z + μ + σ ε."""
        model = PPCA(tuple(self.mean.shape), self.latent, self.mean, sigma)
        with torch.no_grad():
            model.weight.copy_(self.weight)
        return model


@dataclass(frozen=True)
class Row:
    """One model's log-likelihood in nats, the mean over test data.

    Args:
        name: of the model.
        sigma: that of its noise, or of the noise added to it.
        exact: the value in closed form.
        annealed: the bound by annealed importance sampling; ``None`` for points without a decoder.
        kernel: the kernel estimate.
    """

    name: str
    sigma: float
    exact: float
    annealed: pyrogen.Score | None
    kernel: pyrogen.Score


@torch.no_grad()
def misordering(truth: PPCA, train: int, n: int, centres: int, gap: float) -> list[Row]:
    """Draw data from the truth, and judge it and two generators that are worse.

    Args:
        truth: of vectors.
        train: the number of training data, of which the centres are.
        n: the number of test data, and of validation data.
        centres: of k-means.
        gap: nats, as for ``ais``.
    """
    torch.manual_seed(0)
    splits = [Split(truth.sample(rows)) for rows in (train, n, n)]
    data = Dataset("drawn from the truth", *splits, truth.shape, Space("real"))
    valid, test = data.valid.tensors()[0], data.test.tensors()[0]
    plane = Plane(truth, truth.latent // 2)
    judged, rows = [truth, plane], []
    for name, model in zip(("truth", "singular"), judged, strict=True):
        score = ais(model, data, gap=gap, n=n)
        sigma = float(score.detail["noise"] or truth.log_sigma.exp())
        known = truth if model is truth else plane.with_noise(sigma)
        exact, kernel = float(known.log_prob(test).mean()), kde_score(test, model.sample(SAMPLES), valid)
        rows.append(Row(name, sigma, exact, score, kernel))
    found = KMeans(centres, n_init=1, random_state=0).fit(data.train.tensors()[0].numpy()).cluster_centers_
    points = torch.from_numpy(found).to(test)
    known = KernelDensity.from_data(points, valid)
    kernel = kde_score(test, points[torch.randint(centres, (SAMPLES,))], valid)
    rows.append(Row("centres", float(known.bandwidth), float(known.log_prob(test).mean()), None, kernel))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=("digits", "mnist"))
    parser.add_argument("--latent", type=int, default=10, help="of the truth")
    parser.add_argument("--train", type=int, default=10_000, help="training data")
    parser.add_argument("--n", type=int, default=1000, help="test data, and validation data")
    parser.add_argument("--centres", type=int, default=500)
    parser.add_argument("--gap", type=float, default=1.0)
    given = parser.parse_args()
    print("| dimensions | model | σ | exact | bound by annealing | gap | kernel estimate | its error |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.data:
        truth = PPCA.from_data(pyrogen.load(name).train.tensors()[0].flatten(1), given.latent)
        for row in misordering(truth, given.train, given.n, given.centres, given.gap):
            bound = "– | –"
            if row.annealed is not None:
                bound = f"{row.annealed.value:.1f} | {row.annealed.detail['gap']:.2f}"
            kernel = f"{row.kernel.value:.1f} ± {row.kernel.stderr:.1f} | {row.kernel.value - row.exact:+.1f}"
            cells = (truth.shape[0], row.name, f"{row.sigma:.3f}", f"{row.exact:.1f}", bound, kernel)
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
