"""What a network with sharded weights can be used for: each use is tried in two processes with gloo.

OMP_NUM_THREADS=1 python docs/scripts/sharded.py
"""

import multiprocessing
from collections.abc import Callable
from tempfile import TemporaryDirectory

import pyro
import pyro.distributions as distributions
import torch
import torch.distributed as dist
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


class Network(nn.Module):
    """Two layers and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 1)
        self.log_sigma = nn.Parameter(torch.zeros(1))
        fully_shard(self, mesh=init_device_mesh("cpu", (2,)))

    def forward(self, x: Tensor) -> Tensor:
        """The output."""
        return self.encode(x)

    def encode(self, x: Tensor) -> Tensor:
        """The same as a method of another name."""
        out: Tensor = self.last(torch.tanh(self.first(x)))
        return out


def program() -> None:
    """A pair of Pyro programs that calls the network."""
    network = Network()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", distributions.Normal(network(x).squeeze(1), 1.0), obs=torch.zeros(len(x)))

    Trace_ELBO().differentiable_loss(model, lambda x: None, torch.randn(4, 8)).backward()


def method() -> None:
    """A method of the network other than forward."""
    Network().encode(torch.randn(4, 8)).sum().backward()


def parameter() -> None:
    """A parameter that is read outside the network."""
    (Network().log_sigma.exp() * torch.randn(3)).sum().backward()


def penalty() -> None:
    """A gradient penalty."""
    x = torch.randn(4, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(Network()(x).sum(), x, create_graph=True)
    (slope.norm(dim=1) - 1).square().mean().backward()


USES: tuple[Callable[[], None], ...] = (program, method, parameter, penalty)


def process(rank: int, folder: str) -> None:
    """Try each use; the first process prints what happens."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for use in USES:
        try:
            use()
            found = "works"
        except RuntimeError as error:
            found = f"error: {str(error).splitlines()[0]}"
        if rank == 0:
            print(f"{use.__doc__} {found}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    with TemporaryDirectory() as shared:
        context = multiprocessing.get_context("spawn")
        started = [context.Process(target=process, args=(rank, shared)) for rank in (0, 1)]
        for one in started:
            one.start()
        for one in started:
            one.join()
