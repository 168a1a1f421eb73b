"""Data drawn from a model, with the latent coordinates that they were drawn with; and the noise that fits data best."""

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.measure.annealing.path import Rows
from pyrogen.measure.annealing.plan import pilot
from pyrogen.pyro_tools.decoders import Decoder

TOLERANCE = 0.01
"""The relative change of σ at which its iteration stops."""
ITERATIONS = 10


@torch.no_grad()
def simulate(decoder: Decoder, n: int, y: Tensor | None, noise: float) -> tuple[Tensor, Tensor]:
    """Draw u ~ p(u) and x ~ p(x | u): ``(x (n, *event), u (n, d))``.

    Args:
        decoder: the model.
        n: the number of data.
        y: side information with as many rows.
        noise: σ of the Gaussian noise that is added to x.
    """
    u = decoder.draw(n, y)
    given = decoder.joint(u, y)[1]
    if isinstance(given, Tensor):
        return given + noise * torch.randn_like(given), u
    x = given.sample()
    return x + noise * torch.randn_like(x) if noise else x, u


@torch.no_grad()
def nearest_deviation(decoder: Decoder, x: Tensor, y: Tensor | None, draws: int = 1000) -> float:
    """The root mean square difference per value between data and the nearest of some generated means."""
    squares = []
    for start in range(0, draws, len(x)):
        given = decoder.generate(len(x), y)
        generated = (given if isinstance(given, Tensor) else given.mean).flatten(1)
        other = generated if y is None else generated.roll(start, 0)
        squares.append(torch.cdist(x.flatten(1).double(), other.double()).square().min(1).values)
    return float(torch.stack(squares).min(0).values.mean() / x[0].numel()) ** 0.5


def fit_noise(decoder: Decoder, x: Tensor, y: Tensor | None, chains: int) -> float:
    """σ of the Gaussian noise with the highest likelihood of some data, by expectation and maximisation.

        σ² ← E_{p(u | x)} |x - g(u)|² / D,    the mean over data and over weighted chains

    Args:
        decoder: a model without an observation model, g.
        x: validation data, ``(n, *event)``.
        y: side information with as many rows.
        chains: of every datum.

    Raises:
        ConfigError: if the generated data are not finite.
    """
    sigma = nearest_deviation(decoder, x, y)
    for _ in range(ITERATIONS):
        if not 0 < sigma < float("inf"):
            raise ConfigError(f"no noise fits the generated data: their distance to the data is {sigma}")
        rows = Rows.of(decoder, x, y, chains=chains, noise=sigma)
        _, point, log_weights = pilot(rows)
        with torch.no_grad():
            given = decoder.joint(rows.decoded(point.u), None if y is None else y.repeat_interleave(chains, 0))[1]
        if not isinstance(given, Tensor):
            raise ConfigError("the model has an observation model of its own")
        squares = (x.repeat_interleave(chains, 0) - given).flatten(1).double().square().mean(1).view(len(x), chains)
        before, sigma = sigma, float((log_weights.softmax(1) * squares).sum(1).mean()) ** 0.5
        if abs(sigma / before - 1) < TOLERANCE:
            break
    return float(f"{sigma:.3g}")
