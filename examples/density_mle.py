"""Maximum likelihood of explicit densities: exact likelihoods and an empty guide.

Three models of the half-moons, whose entropy is known, so that KL(p ‖ model) can be computed:

- a Gaussian with full covariance, fitted by SVI, which is maximum likelihood if the guide is empty,
- the same Gaussian in closed form, for comparison,
- a mixture of Gaussians as a plain Pyro program. The component k is summed out, by ``TraceEnum_ELBO`` in training and
  by ``evaluate`` in evaluation, so its likelihood is exact too.

    python examples/density_mle.py            # --smoke for a run of a few seconds
"""

import argparse
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.data import Dataset
from pyrogen.explicit import Gaussian
from pyrogen.report import samples_png

COMPONENTS = 24


@config_enumerate
def mixture(x: torch.Tensor) -> None:
    """p(x) = Σ_k w_k N(x; m_k, S_k S_kᵀ), with data as initial means."""
    weights = pyro.param("weights", lambda: torch.ones(COMPONENTS) / COMPONENTS, constraint=constraints.simplex)
    means = pyro.param("means", lambda: x[:COMPONENTS].clone())
    eye = 0.3 * torch.eye(x.shape[1]).expand(COMPONENTS, -1, -1)
    scales = pyro.param("scales", eye, constraint=constraints.lower_cholesky)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(weights))
        pyro.sample("x", dist.MultivariateNormal(means[k], scale_tril=scales[k]), obs=x)


def train(step: pyrogen.Step, data: Dataset, steps: int, seed: int) -> None:
    for t, logs in pyrogen.fit(step, data.train, steps=steps, batch_size=512, seed=seed):
        if t % max(steps // 4, 1) == 0:
            print(f"  step {t:5d}: {float(logs['loss']):.3f} nats (negative log-likelihood of a batch)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/density_mle"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 60 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    data = pyrogen.load("moons", seed=args.seed)
    cosine = partial(CosineAnnealingLR, T_max=steps)

    print("Gaussian by SVI")
    gaussian = Gaussian(data.shape, "full")
    train(pyrogen.SVI(gaussian.model, optim=partial(Adam, lr=0.03), schedule=cosine), data, steps, args.seed)

    print("mixture by SVI with enumeration")
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    svi = pyrogen.SVI(mixture, optim=partial(Adam, lr=0.02), loss=loss, schedule=cosine)
    train(svi, data, steps, args.seed)

    closed_form = Gaussian.from_data(data.train.tensors()[0], "full")
    models = {"Gaussian by SVI": gaussian, "Gaussian in closed form": closed_form, "mixture by SVI": svi}
    print(f"\n{'model':24} {'log-likelihood of test data':30} KL(p || model)")
    for name, model in models.items():
        score = pyrogen.evaluate(model, data.test)["log_likelihood"]
        value = f"{score.value:.4f} ± {score.stderr:.4f} {score.unit} ({score.kind})"
        print(f"{name:24} {value:30} {-data.truth.entropy - score.value:.4f} nats")
    to_user = data.space.to_user
    samples_png(to_user(svi.sample(2000)), to_user(data.test.x[:2000]), args.out / "mixture.png")
    print(f"negative entropy of the data, the maximum for any model: {-data.truth.entropy:.4f} nats")
    print(f"samples of the mixture: {args.out / 'mixture.png'}")


if __name__ == "__main__":
    main()
