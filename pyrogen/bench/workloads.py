"""The workloads by name, and the implementations of each."""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from pyrogen.bench import pairs
from pyrogen.bench.networks import adversarial, vae
from pyrogen.bench.networks.cvae import cvae
from pyrogen.bench.networks.flow import flow
from pyrogen.bench.networks.numpyro_vae import numpyro
from pyrogen.bench.pairs import ContenderMaker, Workload

PAIRS: dict[str, Callable[[int, torch.device], Workload]] = {
    "vae": vae.vae,
    "conv-vae": partial(vae.vae, hidden=32, conv=True),
    "cvae": cvae,
    "flow": flow,
}
WORKLOADS = (*PAIRS, "wgan-gp", "dcgan")


def contender_makers(workload: str, batch_size: int, device: torch.device) -> Iterator[ContenderMaker]:
    """Yield makers of all implementations of a workload, beginning with pyrogen compiled."""
    if workload not in PAIRS:
        yield from adversarial.adversarial_contenders(workload, batch_size, device)
        return
    pair = PAIRS[workload](batch_size, device)
    yield from pairs.contenders(pair)
    if workload in ("vae", "conv-vae"):
        yield partial(pairs.pyrogen_contender, pair, True, "bf16")
        yield partial(pairs.loop_contender, pair)
        yield partial(vae.with_data, pair)
    if workload == "vae":
        yield partial(vae.matmuls, batch_size, device)
    if workload == "vae" and device.type == "cpu":
        yield partial(numpyro, batch_size)
        yield partial(numpyro, batch_size, scan=False)
        yield partial(vae.pythae, batch_size)
        yield partial(vae.with_loader, batch_size)
