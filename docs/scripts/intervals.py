"""How often 95% intervals cover, and how often p-values are below .05 without a difference.

    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --measures mmd2 fid kid precision recall density coverage
    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --measures c2st
    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --measures likelihood
    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --measures p-values
    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --measures seeds --redraws 4000

Both sets are drawn anew each time. The value that an interval should cover is the mean of the score over all redraws.
``digits`` is a mixture of 10 Gaussians with full covariances, fitted to the dequantised digits of 64 pixels, so that it
can be redrawn without end; ``one Gaussian`` has the mean and the covariance of the digits. The p-values are those of
two disjoint random sets of real digits. ``seeds`` is a score with a normal error of the training run and a mean over 50
test rows, which each seed draws from a pool that is drawn anew too.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pyrogen import Score
from pyrogen.explicit import VAE, Gaussian, GaussianLikelihood
from pyrogen.measure import c2st, density_coverage, evaluate, fid, kid, mmd2, over_seeds, precision_recall

Draw = Callable[[int], Tensor]


def digits() -> Tensor:
    """The 1,797 digits in [0, 1], ``(n, 64)``."""
    return torch.tensor(load_digits().data / 16)


def mixture(components: int) -> Draw:
    """A mixture of Gaussians fitted to the dequantised digits."""
    x = digits() * 16 / 17
    x = x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype) / 17
    fitted = GaussianMixture(components, reg_covar=1e-3, random_state=0).fit(x.numpy())
    weights, means = torch.tensor(fitted.weights_), torch.tensor(fitted.means_)
    factors = torch.linalg.cholesky(torch.tensor(fitted.covariances_))

    def draw(n: int) -> Tensor:
        component, noise = torch.multinomial(weights, n, replacement=True), torch.randn(n, 64, dtype=torch.float64)
        x = torch.empty(n, 64, dtype=torch.float64)
        for i in component.unique():
            x[component == i] = means[i] + noise[component == i] @ factors[i].T
        return x

    return draw


def gaussian(d: int, scale: float = 1.0, shift: float = 0.0) -> Draw:
    """N(shift, scale²) in d dimensions."""
    return lambda n: scale * torch.randn(n, d, dtype=torch.float64) + shift


def cases() -> dict[str, tuple[Draw, Draw, int, int]]:
    """Samples, data and their numbers."""
    ten, one = mixture(10), mixture(1)
    return {
        "digits": (ten, ten, 300, 300),
        "one Gaussian against digits": (one, ten, 300, 300),
        "16 d": (gaussian(16), gaussian(16), 300, 300),
        "16 d, scale 1.3": (gaussian(16, 1.3), gaussian(16), 300, 300),
        "16 d, scale 1.1, uneven": (gaussian(16, 1.1), gaussian(16), 1000, 450),
        "2 d, shift 0.3": (gaussian(2, 1.0, 0.3), gaussian(2), 200, 200),
    }


def of_samples(measures: set[str], samples: Tensor, real: Tensor, seed: int) -> dict[str, Score]:
    """The chosen scores of one draw."""
    scores: dict[str, Score] = {}
    if "c2st" in measures:
        scores["c2st"] = c2st(samples, real, seed=seed)
    if "mmd2" in measures:
        scores["mmd2"] = mmd2(samples, real, permutations=2, seed=seed)
    if "fid" in measures:
        scores["fid"] = fid(samples, real)
    if "kid" in measures:
        scores["kid"] = kid(samples, real)
    if measures & {"precision", "recall"}:
        scores |= precision_recall(samples, real)
    if measures & {"density", "coverage"}:
        scores |= density_coverage(samples, real)
    return {name: score for name, score in scores.items() if name in measures}


def likelihoods(n: int, redraws: int) -> Iterator[dict[str, Score]]:
    """Log-likelihoods of n redrawn digits: exact of a Gaussian, bounds of an untrained VAE."""
    ten = mixture(10)
    exact = Gaussian.from_data(ten(2000).float(), "full", jitter=1e-6)
    vae = VAE((64,), latent=8, hidden=(64,), likelihood=GaussianLikelihood())
    for seed in range(redraws):
        rows = ten(n).float()
        bounds = evaluate(vae, rows, k=20, seed=seed)
        yield {"exact": evaluate(exact, rows)["log_likelihood"], "elbo": bounds["elbo"], "iwae": bounds["iwae"]}


def covered(scores: list[Score]) -> str:
    """Mean, spread, mean standard error, and the share of intervals that hold the mean."""
    value = torch.tensor([score.value for score in scores])
    limits = torch.tensor([score.interval or (score.value, score.value) for score in scores])
    mean = value.mean()
    share = ((limits[:, 0] <= mean) & (mean <= limits[:, 1])).float().mean()
    error = sum(score.stderr for score in scores) / len(scores)
    return f"{mean:10.5f} {value.std():9.5f} {error:9.5f} {share:9.1%}"


def p_values(redraws: int, rows: int) -> None:
    """The share of p-values of at most .05, of two disjoint random sets of real digits."""
    x, alarms = digits(), torch.zeros(4)
    for seed in range(redraws):
        order = torch.randperm(len(x))
        a, b = x[order[:rows]], x[order[rows : 2 * rows]]
        tree = c2st(a, b, seed=seed).detail
        found = (mmd2(a, b, seed=seed).detail["p_value"], *(tree[p] for p in ("p_value", "trees_p_value")))
        alarms += torch.tensor([*found, tree["network_p_value"]]) <= 0.05
    for name, share in zip(("mmd2", "c2st", "its trees", "its network"), alarms / redraws, strict=True):
        print(f"{name:12s} {share:.1%}", flush=True)


def over_seeds_and_data(redraws: int, rows: int = 50, run: float = 0.2) -> None:
    """The share of intervals over seeds, and over seeds and data, that hold 0, the mean of the score."""
    print(f"{'in common':>9s} {'seeds':>6s} {'of both':>9s} {'of seeds':>9s}")
    for pool in (rows, 2 * rows, 4 * rows, 200 * rows):
        for seeds in (3, 5, 10):
            held = torch.zeros(2)
            for _ in range(redraws):
                x = torch.randn(pool, dtype=torch.float64)
                sets = [x[torch.randperm(pool)[:rows]] for _ in range(seeds)]
                values = [float(one.mean() + run * torch.randn(())) for one in sets]
                shared = rows / pool * float(torch.stack(sets).var(1).mean()) / rows
                limits = [over_seeds(values, "nats", part)[2] for part in (shared, 0.0)]
                held += torch.tensor([low <= 0 <= high for low, high in limits])
            both, alone = held / redraws
            print(f"{rows / pool:9.1%} {seeds:6d} {both:9.1%} {alone:9.1%}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measures", nargs="+", required=True)
    parser.add_argument("--redraws", type=int, default=400)
    parser.add_argument("--rows", type=int, default=200, help="of each set of real digits, for p-values")
    parser.add_argument("--only", nargs="+", help="names of cases")
    given = parser.parse_args()
    torch.manual_seed(0)
    if given.measures == ["p-values"]:
        return p_values(given.redraws, given.rows)
    if given.measures == ["seeds"]:
        return over_seeds_and_data(given.redraws)
    print(f"{'case':28s} {'measure':10s} {'mean':>10s} {'spread':>9s} {'stderr':>9s} {'coverage':>9s}")
    if given.measures == ["likelihood"]:
        draws = list(likelihoods(300, given.redraws))
        for name in draws[0]:
            print(f"{'digits':28s} {name:10s} {covered([scores[name] for scores in draws])}")
        return None
    for case, (samples, real, n, m) in cases().items():
        if given.only and case not in given.only:
            continue
        drawn = [of_samples(set(given.measures), samples(n), real(m), seed) for seed in range(given.redraws)]
        for name in drawn[0]:
            print(f"{case:28s} {name:10s} {covered([scores[name] for scores in drawn])}", flush=True)
    return None


if __name__ == "__main__":
    main()
