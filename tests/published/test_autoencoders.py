"""Autoencoders against PCA, which is the best that a linear one can be; minutes each, so marked slow.

PYROGEN_DATA=… pytest tests/published/test_autoencoders.py -m slow -n 0 -s
"""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import pyrogen
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.reconstruction import PCA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ERRORS = {2: 0.05567, 10: 0.03407, 16: 0.02686, 32: 0.01683}  # of x / 255; the data here are (x + u) / 256
PROBES = {16: 0.857, 32: 0.901}


def error(model, data):
    return reconstruction_score(model.reconstruct, *data.test.tensors()).value * (256 / 255) ** 2


def probe(encode, data):
    """Test accuracy of logistic regression on the codes, as they are."""
    (x, y), (test_x, test_y) = data.train.tensors(), data.test.tensors()
    with torch.no_grad():
        train, test = encode(x).numpy(), encode(test_x).numpy()
    scale = train.std(0)
    fitted = LogisticRegression(max_iter=300).fit(train / scale, y.numpy())
    return fitted.score(test / scale, test_y.numpy())


@pytest.fixture(scope="module")
def mnist(mnist_root):
    return pyrogen.load("mnist", mnist_root)


@pytest.mark.parametrize("latent", ERRORS)
def test_a_linear_autoencoder_is_pca(trained, mnist, latent):
    exact = error(PCA.from_data(mnist.train.tensors()[0], latent), mnist)
    result, seconds = trained("autoencoder", "mnist", hidden=(), latent=latent, lr=0.01, steps=3000)
    learned = error(result.model, mnist)
    print(f"k = {latent}: PCA {exact:.5f}, linear autoencoder {learned:.5f} in {seconds:.0f} s")
    assert exact == pytest.approx(ERRORS[latent], rel=0.01)
    assert learned == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("latent", [16, 32])
@pytest.mark.parametrize("name", ["autoencoder", "conv-autoencoder"])
def test_deep_autoencoders_halve_the_error_of_pca(trained, mnist, name, latent):
    result, seconds = trained(name, "mnist", latent=latent)
    learned = error(result.model, mnist)
    print(f"{name}, k = {latent}: {learned:.5f} in {seconds:.0f} s, PCA {ERRORS[latent]:.5f}")
    assert learned <= ERRORS[latent] / 2


@pytest.mark.parametrize("latent", PROBES)
def test_means_of_a_vae_are_read_better_than_pca(trained, mnist, latent):
    linear = probe(PCA.from_data(mnist.train.tensors()[0], latent).encode, mnist)
    result, seconds = trained("vae", "mnist-binary", latent=latent, steps=8000)
    learned = probe(result.model.encode, mnist)
    print(f"k = {latent}: probe of PCA {linear:.4f}, of VAE means {learned:.4f}, {seconds:.0f} s")
    assert linear == pytest.approx(PROBES[latent], abs=0.01)
    assert learned > linear
