"""The log-likelihood of any model with a decoder, bounded from below by annealed importance sampling.

    log p(x) ≥ E[log w],   p(x) = ∫ p(u) p(x | u) du = E[w]

How far below is measured on data drawn from the model, for which there is an upper bound too. A model without an
observation model is given spherical Gaussian noise: its density is the one of g(u) + σ ε.

Wu, Burda, Salakhutdinov and Grosse, "On the quantitative analysis of decoder-based generative models", ICLR 2017.
The rates and distortions along the path are those of Huang, Makhzani, Cao and Grosse, "Evaluating lossy compression
rates of deep generative models", ICML 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, log, pi
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from pyrogen.data.checks import check_sets
from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import ConfigError
from pyrogen.measure.annealing.path import log_likelihood
from pyrogen.measure.annealing.run import VALIDATION, AnnealedRun, Codes, Progress, Results
from pyrogen.measure.likelihood import check_finite_values, mean_score, structure_of
from pyrogen.nn.conditions import Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Pair, Sampler, Score
from pyrogen.pyro_tools.decoders import Decoder, as_decoder, is_pair
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.random import random_rows
from pyrogen.training.checkpoint import found, restore, save

CODE_DRAWS = 50
"""Draws of an encoder's codes, of which q has the mean and the deviation."""
Show = Callable[[Progress], None]


class NoDensity(ConfigError):
    """A model has no density that annealed importance sampling can bound."""


@dataclass(frozen=True)
class Annealing:
    """Settings of annealed importance sampling.

    Args:
        gap: nats between the lower and the upper bound on simulated data; the number of temperatures, or of chains
            where that no longer helps, is doubled until the gap with two standard errors is at most that.
        minutes: the time after which neither number is doubled again.
        n: the most test data; so many at random.
        noise: σ of Gaussian noise added to what the model generates, in model coordinates. By default none for a model
            with an observation model, else the σ that fits validation data best.
        chains: of every datum, before they are doubled.
        simulated: the number of data drawn from the model, on which the gap is measured.
        start: chains start at draws of the prior, or about the codes of the encoder.
        smoothed: σ of noise that is added to all models alike, for the score ``smoothed_log_likelihood`` of
            ``evaluate``; ``common_noise`` finds one for a data set.
        folder: where finished units of work are kept, so that a stopped measurement goes on.
        show: called after every unit.
    """

    gap: float = 1.0
    minutes: float = inf
    n: int = 1000
    noise: float | None = None
    chains: int = 16
    simulated: int = 100
    start: Literal["prior", "encoder"] = "prior"
    smoothed: float | None = None
    folder: Path | None = None
    show: Show | None = field(default=None, compare=False)

    @property
    def seconds(self) -> float:
        """The time in seconds."""
        return 60 * self.minutes

    def __post_init__(self) -> None:
        for name in ("gap", "minutes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} above 0; got {getattr(self, name)}")
        for sigma in (self.noise, self.smoothed):
            if sigma is not None and not 0 <= sigma < inf:
                raise ConfigError(f"expected a finite noise of at least 0; got {sigma}")
        if self.n < 1 or self.chains < 2 or self.simulated < 2:
            got = f"n={self.n}, chains={self.chains}, simulated={self.simulated}"
            raise ConfigError(f"expected at least 1 datum, 2 chains and 2 simulated data; got {got}")
        if self.start not in ("prior", "encoder"):
            raise ConfigError(f"expected start 'prior' or 'encoder'; got {self.start!r}")


def annealed_score(
    model: Any, data: Dataset | Split, test: tuple[Tensor, ...], settings: Annealing, seed: int = 0
) -> Score:
    """The score ``ais`` of a model in model coordinates: a lower bound in expectation, in nats.

    Args:
        model: a model with a decoder, see ``as_decoder``.
        data: what the test data are of; the validation split of a ``Dataset`` serves for the choice of the noise, and
            half of the rows of a split.
        test: the test data and their side information.
        settings: of the method.
        seed: of the choice of rows and of all draws.

    Raises:
        NoDensity: as for ``decoder_with_density``.
        ConfigError: if chains are to start at the codes of a model without a guide.
    """
    x, y = take_rows(test, settings.n, seed)
    decoder = decoder_with_density(model, x, y, settings)
    with eval_mode(model), torch.no_grad():
        valid = None
        if not has_observation_model(decoder, y):
            if settings.noise is None and isinstance(data, Dataset):
                valid = take_rows(data.valid.tensors(seed), VALIDATION, seed)
            elif settings.noise is None:
                check_sets("ais", 2, test=x)
                half = len(x) // 2
                valid, (x, y) = _rows(x, y, slice(half)), _rows(x, y, slice(half, None))
        codes = _encoder(model, x, y) if settings.start == "encoder" else None
        goal = (settings.gap, settings.seconds)
        sizes = (settings.chains, settings.simulated)
        run = AnnealedRun(decoder, x, y, valid, settings.noise, codes, *goal, *sizes, seed)
        _finish(run, settings)
    return _score(model, run, settings, y, chosen=valid is not None)


def noise_note(sigma: float) -> str:
    """What a likelihood is of, to which noise is added."""
    return f"with Gaussian noise of σ = {sigma:.3g}"


def decoder_with_density(model: Any, x: Tensor, y: Tensor | None, settings: Annealing) -> Decoder:
    """The decoder of a model whose density annealed importance sampling can bound.

    Args:
        model: any model.
        x, y: some data and their side information.
        settings: of the method.

    Raises:
        NoDensity: if the model has no decoder, has global or discrete latent variables, or is asked for noise that its
            observation model does not take.
    """
    if not isinstance(model, Sampler | Pair):
        raise NoDensity(f"a {type(model).__name__} is no distribution: it does not sample")
    first, side = x[:1], None if y is None else y[:1]
    try:
        with eval_mode(model), torch.no_grad():
            rest = () if side is None else (side,)
            if isinstance(model, Pair) and structure_of(model, first, *rest).shared:
                name = type(model).__name__
                raise NoDensity(f"a {name} has global latent variables, which belong to no single datum")
            decoder = as_decoder(model, x, y)
            if has_observation_model(decoder, side):
                log_likelihood(decoder.generate(1, side), first, settings.noise or 0.0)
            elif settings.noise == 0:
                raise NoDensity(f"a {type(model).__name__} generates points: it has a density only with noise")
    except ConfigError as error:
        raise NoDensity(str(error)) from error
    return decoder


def has_observation_model(decoder: Decoder, y: Tensor | None) -> bool:
    """Whether a decoder is p(x | u), not E[x | u] alone."""
    return not isinstance(decoder.generate(1, None if y is None else y[:1]), Tensor)


def take_rows(tensors: tuple[Tensor, ...], n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """At most ``n`` data at random, and their side information."""
    x, *rest = (random_rows(t, n, seed, "ais") for t in tensors)
    return x, rest[0] if rest else None


def _rows(x: Tensor, y: Tensor | None, rows: slice) -> tuple[Tensor, Tensor | None]:
    return x[rows], None if y is None else y[rows]


def _encoder(model: Any, x: Tensor, y: Tensor | None) -> Codes:
    if not is_pair(model):
        raise ConfigError(f"a {type(model).__name__} has no guide: chains start at the prior")
    program = LatentProgram(model, x, *(() if y is None else (y,)))

    def codes(x: Tensor, y: Tensor | None) -> Tensor:
        rest = () if y is None else (y,)
        return torch.stack([program.unconstrain(program.encode(x, *rest, draw=True)) for _ in range(CODE_DRAWS)])

    return codes


def _finish(run: AnnealedRun, settings: Annealing) -> None:
    """Do all units of work, from those that the folder holds."""
    if settings.folder is not None and found(settings.folder):
        restore(settings.folder, ais=run)
    for t, progress in enumerate(run):
        if settings.folder is not None:
            save(settings.folder, t=t, ais=run)
        if settings.show is not None:
            settings.show(progress)


def _score(model: Any, run: AnnealedRun, settings: Annealing, y: Tensor | None, chosen: bool) -> Score:
    results = run.results()
    values = results.log_prob
    condition = getattr(model, "condition", None)
    if isinstance(condition, Label) and y is not None:
        values = values + condition.log_prob(y).cpu()  # log p(x) ≥ log p(y) + log p(x | y)
    check_finite_values(values, "the log-likelihood by annealed importance sampling")
    steps, chains = run.level
    gap, error = run.gap_of(run.level)
    detail: dict[str, Any] = {
        "gap": gap,
        "gap_stderr": error,
        "noise": run.sigma or None,
        "chains": chains,
        "steps": steps,
        "effective_chains": results.effective,
    }
    notes = []
    if run.sigma:
        notes.append(noise_note(run.sigma) + (", chosen on validation data" if chosen else ""))
    if gap + 2 * error > settings.gap:
        notes.append(f"the gap, {gap:.2g} ± {error:.1g} nats, was not below {settings.gap:g} when the time ran out")
    if notes:
        detail["note"] = "; ".join(notes)
    if run.codes is None:
        detail["rate_distortion"] = rate_distortion(run, results)
    return mean_score(values, "lower_bound", **detail)


def rate_distortion(run: AnnealedRun, results: Results) -> dict[str, Any]:
    """Points of the rate-distortion curve of a decoder with its prior.

        rate = KL(f_β ‖ p(u)) = β E[log p(x | u)] - log ∫ f_β du,   distortion = E ‖x - E[x | u]‖²  or  -E log p(x | u)

    The first distortion is that of Gaussian noise of one σ, the second of other observation models. As the lower bounds
    on the integrals are used, rates are upper bounds in expectation.
    """
    rate = results.betas * results.tilts - results.log_normalisers
    distortion, unit = -results.tilts, "nats"
    sigma = _one_sigma(run)
    if sigma:
        dims = run.x[0].numel()
        distortion = 2 * sigma**2 * (distortion - 0.5 * dims * log(2 * pi * sigma**2))
        unit = "squared error"
    return {"rate": rate.tolist(), "distortion": distortion.tolist(), "unit": unit}


def _one_sigma(run: AnnealedRun) -> float | None:
    """The standard deviation of Gaussian noise that is one for all values and data; ``None`` for other noise."""
    y = None if run.y is None else run.y[:1].expand(8, *run.y.shape[1:])
    with torch.no_grad():
        given = run.decoder.generate(8, y)
    if isinstance(given, Tensor):
        return run.sigma
    if not isinstance(given.fn, Normal):
        return None
    variance = given.variance + run.sigma**2
    one = float(variance.flatten()[0])
    return one**0.5 if bool((variance - one).abs().max() <= 1e-5 * one) else None
