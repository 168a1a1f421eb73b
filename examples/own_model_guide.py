"""Your own model and guide: two plain Pyro functions, without any class of the library.

    p(z) = N(0, I)     p(x | z) = N(W z + m, diag σ²)     q(z | x) = N(A (x - m), diag s²)

This is factor analysis, whose likelihood has a closed form, x ~ N(m, W Wᵀ + diag σ²), so that the importance-weighted
bound that ``evaluate`` computes for any pair can be compared with the exact value. The trained step is then sampled,
evaluated, and compared with a recipe of the library in one report.

    python examples/own_model_guide.py            # --smoke for a run of a few seconds
"""

import argparse
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch.optim import Adam

import pyrogen
from pyrogen.report import samples_png

LATENT, DIMS = 8, 64


def model(x: torch.Tensor) -> None:
    loadings = pyro.param("loadings", lambda: 0.1 * torch.randn(LATENT, DIMS))
    mean = pyro.param("mean", lambda: torch.full((DIMS,), 0.3))
    sigma = pyro.param("sigma", lambda: torch.full((DIMS,), 0.3), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x), LATENT), 1.0).to_event(1))
        pixels = (z @ loadings + mean).view(-1, 1, 8, 8)
        pyro.sample("x", dist.Normal(pixels, sigma.view(1, 8, 8)).to_event(3), obs=x)


def guide(x: torch.Tensor) -> None:
    maps = pyro.param("maps", lambda: 0.01 * torch.randn(DIMS, LATENT))
    centre = pyro.param("centre", lambda: torch.full((DIMS,), 0.3))
    spread = pyro.param("spread", lambda: torch.ones(LATENT), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal((x.flatten(1) - centre) @ maps, spread).to_event(1))


@torch.no_grad()
def exact_log_likelihood(step: pyrogen.SVI, x: torch.Tensor) -> float:
    """Mean log N(x; m, W Wᵀ + diag σ²) over the rows of x in nats, from the trained parameters."""
    mean, loadings, sigma = (step.param(name) for name in ("mean", "loadings", "sigma"))
    marginal = dist.LowRankMultivariateNormal(mean, loadings.T, sigma.square())
    return float(marginal.log_prob(x.flatten(1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/own_model_guide"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 4 if args.smoke else args.steps

    torch.manual_seed(args.seed)
    data = pyrogen.load("digits", seed=args.seed)
    step = pyrogen.SVI(model, guide, optim=partial(Adam, lr=0.01))
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=args.seed):
        if t % max(steps // 5, 1) == 0:
            print(f"step {t:5d}: {float(logs['loss']):.1f} nats (negative ELBO)")

    scores = pyrogen.evaluate(step, data.test, seed=args.seed)
    for name, score in scores.items():
        print(f"{name}: {score.value:.2f} ± {score.stderr:.2f} {score.unit} ({score.kind})")
    print(f"closed form: {exact_log_likelihood(step, data.test.tensors()[0]):.2f} nats (exact)")

    card = pyrogen.compare(["gaussian"], "digits", own={"factors": step}, steps=steps, seed=args.seed, out=args.out)
    samples_png(data.space.to_user(step.sample(64)), path=args.out / "samples.png")
    for name, entry in card["models"].items():
        score = entry["scores"]["log_likelihood"]
        print(f"{name}: {score['value']:.2f} {score['unit']} ({score['kind']})")
    print(f"report: {args.out / 'report.html'}")


if __name__ == "__main__":
    main()
