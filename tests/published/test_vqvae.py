"""Vector quantisation of MNIST, 7 × 7 codes of 512; minutes each, so marked slow.

PYROGEN_DATA=… pytest tests/published/test_vqvae.py -m slow -n 0 -s
"""

from math import log

import pytest
import torch

from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.nn.codebook import perplexity

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@torch.no_grad()
def measured(result):
    """Perplexity, mean squared error per pixel and code length in bits, on the test images."""
    model = result.model.eval()
    x, *_ = result.data.test.tensors()
    codes = torch.cat([model.encode(part) for part in x.split(1000)])
    bits = torch.cat([-model.prior_network.log_prob(part) / log(2) for part in codes.split(1000)])
    error = reconstruction_score(model.reconstruct, x).value
    return {"perplexity": float(perplexity(codes, model.codes)), "mse": error, "bits": float(bits.mean())}


def test_moving_averages_use_more_codes_and_lose_less_and_the_prior_pays(trained):
    found = {}
    for ema in (True, False):
        result, seconds = trained("vqvae", "mnist", ema=ema)
        found[ema] = measured(result)
        print(f"ema={ema}: {found[ema]}, {seconds:.0f} s")
    assert found[True]["perplexity"] >= found[False]["perplexity"]
    assert found[True]["mse"] <= found[False]["mse"]
    assert found[True]["bits"] < 49 * 9  # an even prior over 512 codes at each of 49 places
