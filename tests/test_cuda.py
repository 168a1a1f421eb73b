"""On a GPU a step computes what it computes on the CPU, compiled or not, and goes on where it was cut.

pytest -m cuda                                     # about 2 minutes on one card
PYROGEN_TEST_DEVICE=cpu pytest -m cuda             # the same checks where there is no card
"""

import os

import pytest
import torch

from pyrogen.bench.gpu.agreement import checks

DEVICE = torch.device(os.environ.get("PYROGEN_TEST_DEVICE", "cuda"))
CHECKS = dict(checks(DEVICE))
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_agreement_with_the_cpu(check):
    CHECKS[check]()
