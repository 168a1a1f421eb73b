"""The posterior of a Bayesian regression by SVI and by NUTS, on the same model: means, deviations, and a picture.

    log odds of y = x w + b,    w ~ N(0, 1),    b ~ N(0, 1)

A mean-field guide gives the means of NUTS; where the coefficients are correlated its deviations are too small, and
those of a guide with a full covariance are not. Both posteriors are ArviZ trees if ArviZ is installed
(`pip install 'pyrogen[arviz]'`).

    python examples/nuts_beside_svi.py --out runs/nuts
"""

import argparse
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch.optim import Adam

import pyrogen


def regression(x: torch.Tensor, y: torch.Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Bernoulli(logits=x @ w + b), obs=y)


def made_up(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two correlated covariates, and outcomes by coefficients of 1.5 and -1."""
    first = torch.randn(n)
    x = torch.stack([first, 0.8 * first + 0.6 * torch.randn(n)], 1)
    return x, torch.bernoulli(torch.sigmoid(x @ torch.tensor([1.5, -1.0]) + 0.5))


def coefficients(posterior: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([posterior["w"].reshape(-1, 2), posterior["b"].reshape(-1, 1)], 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/nuts"))
    parser.add_argument("--steps", type=int, default=3000, help="of SVI")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    steps, draws = (30, 20) if args.smoke else (args.steps, args.draws)
    torch.manual_seed(0)
    x, y = made_up(300)
    found = {}
    for name, family in (("mean field", AutoNormal), ("full covariance", AutoMultivariateNormal)):
        step = pyrogen.SVI(regression, family(regression), partial(Adam, lr=0.02))
        for _ in range(steps):
            step(x, y)
        tree = pyrogen.use.to_arviz(step, x, y, draws=draws)
        found[name] = coefficients({key: torch.tensor(value.values) for key, value in tree.posterior.items()})
    chains = MCMC(NUTS(regression), num_samples=draws, warmup_steps=draws, disable_progbar=True)
    chains.run(x, y)
    found["NUTS"] = coefficients(chains.get_samples())
    for name, each in found.items():
        means = " ".join(f"{mean:6.2f} ± {std:.2f}" for mean, std in zip(each.mean(0), each.std(0), strict=True))
        print(f"{name:16} {means}")
    args.out.mkdir(parents=True, exist_ok=True)
    pyrogen.report.scatter_png(
        found["mean field"][:, :2], found["NUTS"][:, :2], args.out / "posterior.png", labels=("w₁", "w₂")
    )
    print(f"mean field over NUTS: {args.out / 'posterior.png'}")
