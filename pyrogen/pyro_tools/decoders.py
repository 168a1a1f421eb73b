"""Any model with a decoder as p(u) and p(x | u), with u unconstrained coordinates of its latent variables.

A Pyro pair has both as programs; other models have a standard normal or a base density for p(z), and E[x | z] without
an observation model unless they define ``observation_dist(z, y)``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.nn.noise import NormalNoise
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.pyro_tools.observation import Observation
from pyrogen.pyro_tools.programs import drop_extra_args


@dataclass(frozen=True)
class Decoder:
    """A model as a density of latent coordinates and a distribution of data given them; y holds side information.

    Args:
        size: the number of coordinates u.
        draw: ``draw(n, y) -> u``, from p(u).
        joint: ``joint(u, y) -> (log p(u), p(x | u))``: nats, ``(n,)``, and the distribution of the data, or E[x | u],
            ``(n, *event)``, for a model without an observation model.
    """

    size: int
    draw: Callable[[int, Tensor | None], Tensor]
    joint: Callable[[Tensor, Tensor | None], tuple[Tensor, Observation | Tensor]]

    def generate(self, n: int, y: Tensor | None) -> Observation | Tensor:
        """p(x | u), or E[x | u] without an observation model, for ``n`` draws of u."""
        return self.joint(self.draw(n, y), y)[1]


def is_pair(model: Any) -> bool:
    """Whether a model has the programs of a Pyro pair; it need not sample."""
    return callable(getattr(model, "model", None)) and callable(getattr(model, "guide", None))


def find_decoder(model: Any) -> Callable[..., Tensor] | None:
    """``decode`` or ``generator`` of a model, as a function of z and as much of y as it takes; ``None`` without."""
    for name in ("decode", "generator"):
        if callable(getattr(model, name, None)):
            return drop_extra_args(getattr(model, name))
    return None


def as_decoder(model: Any, like: Tensor, y: Tensor | None = None) -> Decoder:
    """The decoder of a model.

    Args:
        model: a Pyro pair with continuous latent variables; or a model with ``decode`` or ``generator``, and with a
            ``base`` density of z, or ``latent``, the dimension of a standard normal z.
        like: some data, of which the shape is taken.
        y: side information with as many rows.

    Raises:
        ConfigError: if the model has no decoder, or latent variables that are discrete.
    """
    if is_pair(model):
        return _of_pair(LatentProgram(model, like, *(() if y is None else (y,))))
    decode = find_decoder(model)
    if decode is None:
        raise ConfigError(f"a {type(model).__name__} has no decoder: it has neither decode, generator nor a Pyro pair")
    if getattr(model, "n_binary", 0):
        raise ConfigError(f"{model.n_binary} latent coordinates of this {type(model).__name__} are discrete")
    size, draw, log_prior = _prior(model, like)
    given = getattr(model, "observation_dist", None)

    def joint(u: Tensor, y: Tensor | None) -> tuple[Tensor, Observation | Tensor]:
        if given is None:
            return log_prior(u), decode(u, *(() if y is None else (y,)))
        return log_prior(u), Observation(given(u, y), -like.ndim, (len(u), *like.shape[1:]))

    return Decoder(size, draw, joint)


def _of_pair(program: LatentProgram) -> Decoder:
    discrete = [site.name for site in program.sites if site.support.is_discrete]
    if discrete:
        raise ConfigError(f"latent variables are discrete: {', '.join(discrete)}")

    def joint(u: Tensor, y: Tensor | None) -> tuple[Tensor, Observation | Tensor]:
        z, log_det = program.constrain(u)
        log_prior, observation = program.joint(z, *(() if y is None else (y,)))
        return log_prior + log_det, observation

    def draw(n: int, y: Tensor | None) -> Tensor:
        return program.unconstrain(program.draw(n, *(() if y is None else (y,))))

    return Decoder(program.size, draw, joint)


def _prior(model: Any, like: Tensor) -> tuple[int, Callable[..., Tensor], Callable[[Tensor], Tensor]]:
    """Dimension, draws and log-density of z: a flow's base, or N(0, I)."""
    base = getattr(model, "base", None)
    if base is not None and getattr(base, "condition", None) is None:
        return getattr(model, "latent", like[0].numel()), lambda n, y: base.sample(n), base.log_prob
    size = getattr(model, "latent", None)
    if not isinstance(size, int):
        raise ConfigError(f"a {type(model).__name__} has no prior over its codes: it has neither latent nor base")
    noise = NormalNoise(size).to(like)
    return size, lambda n, y: noise.sample(n), noise.log_prob
