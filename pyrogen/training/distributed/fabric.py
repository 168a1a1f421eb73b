"""All that is known of Lightning Fabric: it joins the processes that ``torchrun`` has started into a group."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from pyrogen import launched
from pyrogen.errors import ConfigError, unknown
from pyrogen.training.device import pick_device
from pyrogen.training.distributed.agreement import greatest

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it ends: longer than drawing pictures and writing a checkpoint."""

NO_FSDP = (
    "strategy fsdp cannot train a pair of Pyro programs: weights are whole only inside the forward method of a module, "
    "and the programs, second derivatives and compiled graphs read them outside it; use ddp"
)


@contextmanager
def joined(device: str = "auto", strategy: str = "ddp") -> Iterator[None]:
    """Join the processes that ``torchrun`` started, for as long as the context lasts; nothing in a single process.

    Args:
        strategy: ``ddp``: every process has all weights.
        device: as for ``pick_device``: on GPUs the processes talk by NCCL, one GPU each, on CPUs by gloo.

    Raises:
        ConfigError: for another strategy, without Lightning Fabric, or if a host has fewer GPUs than processes.
    """
    if strategy == "fsdp":
        raise ConfigError(NO_FSDP)
    if strategy != "ddp":
        raise unknown("strategy", strategy, ("ddp",))
    processes, here = launched.processes(), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if processes == 1 or dist.is_initialized():
        yield
        return
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise ConfigError("training in several processes needs lightning-fabric: pyrogen[distributed]") from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it says how processes were joined
    kind = pick_device(device).type
    if kind == "cuda" and torch.cuda.device_count() < here:
        found = torch.cuda.device_count()
        raise ConfigError(f"{here} processes on this host need as many GPUs; torch finds {found}: give --device cpu")
    ddp = DDPStrategy(timeout=TIMEOUT)
    Fabric(accelerator=kind, strategy=ddp, devices=here, num_nodes=processes // here).launch()
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def restarted() -> bool:
    """Whether ``torchrun`` repeats the command after a process has died; the same in all processes.

    It counts that on the host of the process alone.
    """
    (restarts,) = greatest(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)))
    return restarts > 0
