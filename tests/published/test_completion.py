"""Completion of MNIST by Pyro's own protocol, with a validation split; minutes each, so marked slow.

Grey targets under a Bernoulli likelihood, z of 200, networks of 500-500, 1, 2 or 3 quadrants observed; reported is
minus the ELBO of the hidden pixels of the test images, and the importance-sampled conditional likelihood beside it.
Pyro's example reaches 71.8, 51.0 and 24.2.

PYROGEN_DATA=… pytest tests/published/test_completion.py -m slow -n 0 -s
"""

import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.explicit import CVAE, BernoulliLikelihood, PartialImage, observe_quadrants
from pyrogen.measure.likelihood import bounds
from pyrogen.objectives import BetaELBO
from pyrogen.random import scoped_seed
from pyrogen.recipes.setup import cosine_schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
PUBLISHED = {1: 71.8, 2: 51.0, 3: 24.2}


def grey(split, data):
    """The stored grey levels in [0, 1], without noise."""
    return replace(split, x=data.space.to_user(split.tensors()[0]), noise=None)


def complete(observed, root=None, steps=8000, k=100, n=10_000):
    """Train, choose the best weights by validation, and measure: (minus ELBO, minus IS-CLL, seconds)."""
    data = pyrogen.load("mnist", root)
    data = replace(data, train=grey(data.train, data), valid=grey(data.valid, data), test=grey(data.test, data))
    data = data.with_side_information(lambda x, y: observe_quadrants(x, observed))
    mean = data.train.tensors()[0].mean(0)
    torch.manual_seed(0)
    cvae = CVAE(data.shape, PartialImage(data.shape), 200, (500, 500), BernoulliLikelihood(), mean=mean)
    step = pyrogen.SVI(cvae.model, cvae.guide, partial(Adam, lr=2e-3), BetaELBO(), schedule=cosine_schedule(steps))
    began, best, weights = time.perf_counter(), float("inf"), {}
    for t, _ in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=0):
        if t % (steps // 20) == 0:
            with scoped_seed(0):
                valid = float(step.evaluate(*(part[:2000] for part in data.valid.tensors()))["loss"])
            if valid < best:
                best, weights = valid, {name: w.clone() for name, w in cvae.state_dict().items()}
    seconds = time.perf_counter() - began
    cvae.load_state_dict(weights)
    elbo, iwae, _ = bounds(cvae.eval(), *(part[:n] for part in data.test.tensors()), k=k)
    return -float(elbo.mean()), -float(iwae.mean()), seconds


@pytest.mark.parametrize("observed", PUBLISHED)
def test_completion_beats_the_published_bound(mnist_root, observed):
    elbo, cll, seconds = complete(observed, mnist_root)
    print(f"{observed} quadrants: -ELBO {elbo:.2f}, -IS-CLL {cll:.2f} (k = 100), published {PUBLISHED[observed]}; "
          f"{seconds:.0f} s")  # fmt: skip
    assert elbo < PUBLISHED[observed]
    assert cll < elbo
