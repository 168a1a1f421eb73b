"""The conditional VAE of the library on labelled images: 784 + 10 - hidden - latent, Bernoulli, Adam."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen.bench.pairs import Workload
from pyrogen.bench.timing import CHUNK
from pyrogen.explicit.cvae import CVAE
from pyrogen.nn.conditions import Label

SHAPE = (1, 28, 28)
CLASSES = 10


def cvae(batch_size: int, device: torch.device, hidden: int = 400, latent: int = 50) -> Workload:
    """The workload: labelled images, and a learned prior p(z | y)."""
    x = (torch.rand(CHUNK, batch_size, *SHAPE, device=device) < 0.13).float()
    y = torch.randint(CLASSES, (CHUNK, batch_size), device=device)
    return Workload(lambda: CVAE(SHAPE, Label(CLASSES), latent, (hidden,)), (x, y), by_hand)


def by_hand(network: CVAE, x: Tensor, y: Tensor) -> Tensor:
    """The negative ELBO with one draw of z, in nats summed over the batch, from the same layers."""
    known = F.one_hot(y, CLASSES).float()
    loc, log_scale = network.encoder(torch.cat([x.flatten(1), known], 1)).chunk(2, -1)
    assert network.prior_network is not None
    prior_loc, prior_log_scale = network.prior_network(known).chunk(2, -1)
    noise = torch.randn_like(loc)
    z = loc + log_scale.exp() * noise
    log_q = -0.5 * noise.square() - log_scale
    log_p = -0.5 * ((z - prior_loc) * (-prior_log_scale).exp()).square() - prior_log_scale
    logits = network.decoder(torch.cat([z, known], 1)) + network.offset
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + (log_q - log_p).sum()
