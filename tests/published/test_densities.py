"""The stated figures of tractable densities.

PYROGEN_DATA=… pytest tests/published/test_densities.py -m slow -n 0 -s
"""

import pytest
import torch

import pyrogen
from pyrogen.explicit import Gaussian
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.training import configure, train
from pyrogen.training.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("latent", "nats"), [(10, 189.1), (50, 520.6)])
def test_ppca_on_mnist(trained, latent, nats):
    result, seconds = trained("ppca", "mnist", latent=latent, steps=1)
    score = evaluate_run(pyrogen.open(result.run.path))["scores"]["log_likelihood"]
    print(f"PPCA-{latent} {score['value']:.2f} ± {score['stderr']:.2f} nats, {seconds:.0f} s")
    assert score["kind"] == "exact"
    assert score["value"] == pytest.approx(nats, abs=0.5)


def test_gaussian_on_logits_of_mnist(mnist_root):
    data = pyrogen.load("mnist-logit", mnist_root)
    model = Gaussian.from_data(data.train.tensors()[0], "full")
    score = pyrogen.evaluate(model, data.test)["log_likelihood"]
    print(f"Gaussian {score.value:.2f} ± {score.stderr:.2f} nats")
    assert score.value == pytest.approx(-1366.5, abs=1.5)


SMOOTH = ("moons", "ring", "grid")
MIXTURE = {"layers": 1, "components": 40, "hidden": (64, 64), "batch_size": 512, "steps": 3000, "lr": 0.01}
TOYS = [
    *(("spline", name, 0.02, {}) for name in (*SMOOTH, "checkerboard")),
    *(("maf", name, 0.05, MIXTURE) for name in SMOOTH),
    ("maf", "checkerboard", 0.05, {**MIXTURE, "components": 64, "hidden": (128, 128), "steps": 4000}),
]


@pytest.mark.parametrize(("model", "name", "nats", "options"), TOYS, ids=[f"{toy[0]}-{toy[1]}" for toy in TOYS])
def test_planes_of_known_entropy(tmp_path, model, name, nats, options):
    """KL(p || model) on the test data: what the truth assigns them beyond the model, on average."""
    torch.set_num_threads(1)
    result = train(Run.create(tmp_path / "run", configure(model, name, options=options)))
    seconds = result.run.metrics()[-1]["seconds"]
    x = result.data.test.x
    with torch.no_grad():
        space, truth = result.data.space, result.data.truth
        gap = float((truth.log_prob(space.to_user(x)) - result.model.log_prob(x)).mean()) - space.log_det
    print(f"{model} on {name}: {gap:.4f} nats from the truth, {seconds:.0f} s")
    assert gap < nats
    assert seconds < 180


def test_digits_beyond_gaussian_mixtures(tmp_path):
    """The best of a few densities by validation, on five splits; 65.8 nats is the best mixture, chosen on test data."""
    candidates = {
        "mixture": {"components": 50, "covariance": "diagonal", "steps": 500, "lr": 0.01},
        "made": {"hidden": (256,), "steps": 1000, "batch_size": 128},
        "pixelcnn": {"width": 24, "layers": 3, "steps": 400},
    }
    best = []
    for seed in range(5):
        found = []
        for model, options in candidates.items():
            run = Run.create(tmp_path / f"{model}-{seed}", configure(model, "digits", seed=seed, options=options))
            result = train(run)
            valid = pyrogen.evaluate(result.model, result.data.valid)["log_likelihood"].value
            test = pyrogen.evaluate(result.model, result.data.test)["log_likelihood"].value
            found.append((valid, test, model))
            print(f"split {seed}, {model}: valid {valid:.1f}, test {test:.1f}, {run.metrics()[-1]['seconds']:.0f} s")
        best.append(max(found))
    mean = sum(test for _, test, _ in best) / len(best)
    print(f"chosen by validation: {mean:.1f} nats, the mean over {len(best)} splits")
    assert mean > 65.8
