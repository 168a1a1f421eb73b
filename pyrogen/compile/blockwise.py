"""The log-probability of many Bernoulli values on a CPU, where ``log1p`` can cost more than a decoder's products.

The formula is that of compiled graphs, evaluated on blocks of rows that stay in the processor's cache.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from pyrogen.compile.graph.decompositions import binary_cross_entropy_with_logits
from pyrogen.pyro_tools.observation import single_values

BLOCK = 2**16
"""Values of a block: 256 KiB of float32."""


def blockwise_log_prob(fn: Any, value: Tensor) -> Tensor:
    """``fn.log_prob(value)`` in nats, to rounding; of other distributions than Bernoulli that of ``fn`` itself.

    Args:
        fn: a distribution, whose values are independent if it is a Bernoulli.
        value: of the batch shape and the event shape of ``fn``.

    Raises:
        ValueError: as ``fn.log_prob`` does, from a distribution with validation.
    """
    base, events = single_values(fn), len(fn.event_shape)
    is_bernoulli = type(base).log_prob is Bernoulli.log_prob and value.device.type == "cpu"
    if not is_bernoulli or value.ndim == events or value.shape != base.batch_shape or value.numel() <= BLOCK:
        given: Tensor = fn.log_prob(value)
        return given
    if base._validate_args:
        base._validate_sample(value)
    rows = max(BLOCK // value[0].numel(), 1)
    blocks = zip(base.logits.split(rows), value.split(rows), strict=True)
    each = [binary_cross_entropy_with_logits(logits, x, reduction=0) for logits, x in blocks]
    return -torch.cat([nats.flatten(-events).sum(-1) if events else nats for nats in each])
