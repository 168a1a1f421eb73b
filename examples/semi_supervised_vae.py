"""A semi-supervised VAE: most labels are unknown and are summed out exactly.

    p(y) = 1/10    p(z) = N(0, I)    p(x | y, z) = Bernoulli(decoder(y, z))
    q(y | x) = Categorical(classifier(x))    q(z | x, y) = N(μ(x, y), diag σ²(x, y))

Model M2 of Kingma et al., NeurIPS 2014, as a pair of Pyro programs: ``TraceEnum_ELBO`` enumerates unknown labels; known
labels also enter the classification loss, with weight ``ALPHA``.

    python examples/semi_supervised_vae.py --labelled 50    # --smoke for a run of a few seconds
"""

import argparse
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.optim import Adam

import pyrogen
from pyrogen.nn import eval_mode, mlp
from pyrogen.report import grid_png

DIMS, CLASSES, LATENT, ALPHA = 64, 10, 8, 20.0


class SemiSupervised(nn.Module):
    """Model and guide, for batches with or without labels."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = mlp(DIMS, (128,), CLASSES, dropout=0.5)
        self.encoder = mlp(DIMS + CLASSES, (128,), 2 * LATENT)
        self.decoder = mlp(LATENT + CLASSES, (128,), DIMS)

    def joined(self, h: Tensor, y: Tensor) -> Tensor:
        """Concatenate h and the one-hot class."""
        y = torch.eye(CLASSES)[y]  # an enumerated y has a dimension for the classes, which h lacks
        shape = torch.broadcast_shapes(h.shape[:-1], y.shape[:-1])
        return torch.cat([h.expand(*shape, -1), y.expand(*shape, -1)], -1)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(y) p(z) p(x | y, z)."""
        with pyro.plate("data", len(x)):
            if y is not None:
                pyro.factor("label", ALPHA * dist.Categorical(logits=self.classifier(x.flatten(1))).log_prob(y))
            y = pyro.sample("y", dist.Categorical(logits=x.new_zeros(CLASSES)), obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(self.joined(z, y))).to_event(1), obs=x.flatten(1))

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(y | x) q(z | x, y)."""
        with pyro.plate("data", len(x)):
            if y is None:
                q_y = dist.Categorical(logits=self.classifier(x.flatten(1)))
                y = pyro.sample("y", q_y, infer={"enumerate": "parallel"})
            loc, log_scale = self.encoder(self.joined(x.flatten(1), y)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=int, default=100, help="number of known labels")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/semi_supervised_vae"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    steps = 20 if args.smoke else args.steps

    torch.manual_seed(0)
    data = pyrogen.load("digits-binary", seed=0)
    x, y = (part[: args.labelled] for part in data.train.tensors())
    test, truth = data.test.tensors()
    pair = SemiSupervised()
    loss = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)
    step = pyrogen.SVI(pair.model, pair.guide, partial(Adam, lr=2e-3), loss, compile=False)
    for t, logs in pyrogen.fit(lambda x, _: step(x), data.train, steps=steps, batch_size=128, seed=0):
        step(x, y)
        if t % max(steps // 5, 1) == 0:
            with eval_mode(pair):
                accuracy = float((pair.classifier(test.flatten(1)).argmax(1) == truth).float().mean())
            print(f"step {t:5d}: loss {float(logs['loss']):.1f} nats, test accuracy {accuracy:.1%}")

    baseline = LogisticRegression(max_iter=500).fit(x.flatten(1).numpy(), y.numpy())
    print(f"logistic regression on {len(x)} labels: {baseline.score(test.flatten(1).numpy(), truth.numpy()):.1%}")
    args.out.mkdir(parents=True, exist_ok=True)
    images = pair.decoder(pair.joined(torch.randn(8, 1, LATENT), torch.arange(CLASSES))).sigmoid()
    grid_png(images.view(-1, 1, 8, 8), args.out / "analogies.png", columns=CLASSES)
    print(f"one style per row, one class per column: {args.out / 'analogies.png'}")


if __name__ == "__main__":
    main()
