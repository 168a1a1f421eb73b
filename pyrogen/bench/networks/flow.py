"""The spline flow of the recipe ``spline`` on two-dimensional data: an exact likelihood without a guide."""

import torch

from pyrogen.bench.pairs import Workload
from pyrogen.bench.timing import CHUNK
from pyrogen.data.toy import Moons
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.flow import Flow, autoregressive
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.spline import Spline


def flow(batch_size: int, device: torch.device, hidden: int = 128) -> Workload:
    """The workload: one autoregressive spline layer over an autoregressive mixture, with two hidden layers each.

    The hand-written version is a plain loop over the same model's ``log_prob``.
    """

    def make() -> Flow:
        widths = (hidden, hidden)
        return Flow((2,), autoregressive((2,), 1, widths, Spline(32)), MADE((2,), widths, MixtureLikelihood(32)))

    draws = torch.Generator(device).manual_seed(0)
    x = Moons().sample(CHUNK * batch_size, draws).view(CHUNK, batch_size, 2)
    return Workload(make, (x,), lambda model, x: -model.log_prob(x).mean())
