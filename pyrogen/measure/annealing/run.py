"""The likelihood of data by annealed importance sampling, in units of work that can be continued after a stop.

First data are drawn from the model, and the number of temperatures or of chains is doubled until the gap between the
bounds from both directions, with two standard errors, is as asked for, or the time is spent. More temperatures help
chains to follow a mode, more chains to find one that few of them reach: the next doubling is of the same number as the
last one if that has closed the gap by a quarter, else of the other. With both numbers the data themselves are measured,
block by block.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch import Tensor

from pyrogen.measure.annealing.anneal import anneal, back
from pyrogen.measure.annealing.path import Rows
from pyrogen.measure.annealing.plan import Plan, Schedule, pilot
from pyrogen.measure.annealing.resampling import effective
from pyrogen.measure.annealing.simulate import fit_noise, simulate
from pyrogen.pyro_tools.decoders import Decoder
from pyrogen.random import derive, scoped_seed

ROWS = {"cpu": 4096, "cuda": 65_536}
"""The most chains at a time by type of device, which bounds the memory."""
VALIDATION = 50
"""The most validation data on which the noise is chosen."""
FIRST, MOST = 50, 102_400
"""The first number of temperatures, and the largest of temperatures times the factor by which chains are doubled."""
LEFT = 0.75
"""The share of the gap that a doubling may leave, if the next is to be of the same number."""

Codes = Callable[[Tensor, Tensor | None], Tensor]
"""``codes(x, y) -> (draws, n, d)``: draws of an encoder's q(u | x)."""


@dataclass(frozen=True)
class Progress:
    """What has been done: a text, and the share of the work of the present number of temperatures."""

    text: str
    share: float


@dataclass(frozen=True)
class Results:
    """Of annealed importance sampling.

    Args:
        log_prob: log p(x) of every datum in nats, ``(n,)``.
        effective: the effective number of chains, the mean over data.
        betas: some temperatures, ``(kept,)``.
        log_normalisers, tilts: log ∫ f_β dv and E_{f_β}[log p(x, v) - log q(v)] there, means over data, ``(kept,)``.
    """

    log_prob: Tensor
    effective: float
    betas: Tensor
    log_normalisers: Tensor
    tilts: Tensor


@dataclass
class AnnealedRun:
    """Annealed importance sampling of some data, of which every finished unit of work is kept in its state.

    Args:
        decoder: the model.
        x: the data, ``(n, *event)``.
        y: side information with as many rows.
        valid: validation data and their side information, for a decoder without an observation model and no ``noise``.
        noise: σ; ``None`` to choose it on validation data, where the decoder needs it.
        codes: the encoder, at whose codes the chains start; by default they start at the prior.
        gap: nats to which the bounds are to be closed.
        seconds: the time for all; at least the data are measured with the first number of temperatures.
        chains: of every datum, before they are doubled.
        simulated: the number of data drawn from the model.
        seed: of all random draws.

    Attributes:
        found: the results by unit, for T temperatures and C chains: ``noise``, ``gap-T-C`` and
            ``seconds-gap-T-C``, ``level`` with T and C of the data, ``betas`` and ``block-T-C-i``.
    """

    decoder: Decoder
    x: Tensor
    y: Tensor | None
    valid: tuple[Tensor, Tensor | None] | None
    noise: float | None
    codes: Codes | None
    gap: float
    seconds: float
    chains: int
    simulated: int
    seed: int
    found: dict[str, Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """The results so far, with what they depend on."""
        return {"key": self.key, "goal": [self.gap, self.seconds], "found": dict(self.found)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from results of an earlier run; those of other data, of another model or seed are dropped."""
        if state["key"] == self.key:
            self.found = dict(state["found"])
            if list(state["goal"]) != [self.gap, self.seconds]:
                self.found.pop("level", None)

    @cached_property
    def key(self) -> str:
        """A text that differs between models, data, seeds and settings other than the goal."""
        with scoped_seed(derive(self.seed, "ais", "key")), torch.no_grad():
            given = self.decoder.generate(1, None if self.y is None else self.y[:1])
        generated = given if isinstance(given, Tensor) else given.log_prob(self.x[:1])
        sums = [f"{float(t.double().norm()):.6g}" for t in (generated, self.x)]
        start = "prior" if self.codes is None else "encoder"
        settings = (tuple(self.x.shape), self.noise, start, self.chains, self.simulated, self.seed)
        return " ".join([*sums, *map(str, settings)])

    @property
    def sigma(self) -> float:
        """The noise in use; 0 for none."""
        return float(self.found["noise"]) if "noise" in self.found else self.noise or 0.0

    @property
    def level(self) -> tuple[int, int]:
        """The numbers of temperatures and of chains with which the data are measured."""
        steps, chains = self.found["level"].tolist()
        return steps, chains

    def __iter__(self) -> Iterator[Progress]:
        """Do what is left; yields after every unit of work."""
        began = time.monotonic()
        if self.noise is None and self.valid is not None and "noise" not in self.found:
            yield Progress("noise chosen on validation data", 0.0)
            with scoped_seed(derive(self.seed, "ais", "noise")):
                x, y = self.valid
                self.found["noise"] = torch.tensor(fit_noise(self.decoder, x, y, self.chains), dtype=torch.float64)
        schedule = yield from self._close_gap(began)
        (steps, chains), n = self.level, len(self.x)
        for i, part in enumerate(self._parts(n, chains)):
            name = f"block-{steps}-{chains}-{i}"
            if name not in self.found:
                with scoped_seed(derive(self.seed, "ais", name)):
                    self.found[name] = self._measure(part, schedule)
            done = min(part.stop, n)
            yield Progress(f"{_numbers(steps, chains)}, {done} of {n} data", done / n)

    def _close_gap(self, began: float) -> Generator[Progress, None, Schedule]:
        """Double temperatures or chains until the gap is closed, the time is spent, or they are the most."""
        with scoped_seed(derive(self.seed, "ais", "simulated")):
            x, y, u = self._simulated()
            rows = self._rows(x, y, self.chains)
            plan, *_ = pilot(rows)
        level, before, more_chains = (FIRST, self.chains), inf, False
        while "level" not in self.found:
            name = _gap_name(level)
            if name not in self.found:
                at = time.monotonic()
                with scoped_seed(derive(self.seed, "ais", name)):
                    self.found[name] = self._both_bounds(rows.with_chains(level[1]), plan.with_steps(level[0]), u)
                self.found[f"seconds-{name}"] = torch.tensor(time.monotonic() - at)
            gap, error = self.gap_of(level)
            share = level[0] * level[1] / (MOST * self.chains)
            yield Progress(f"{_numbers(*level)}, gap {gap:.2g} ± {error:.1g} nats", share)
            more_chains ^= gap > LEFT * before
            following = (level[0], 2 * level[1]) if more_chains else (2 * level[0], level[1])
            # A level takes twice the time of the last one in both directions, and the data have one of them.
            next_total = 2 * float(self.found[f"seconds-{name}"]) * (1 + len(self.x) / (2 * len(x)))
            late = _gap_name(following) not in self.found and time.monotonic() - began + next_total > self.seconds
            if gap + 2 * error <= self.gap or late or 2 * share > 1:
                self.found["level"] = torch.tensor(level)
            level, before = following, gap
        return plan.schedule

    def _both_bounds(self, rows: Rows, plan: Plan, u: Tensor) -> Tensor:
        """The bounds of simulated data from both directions, ``(2, n)``.

        Args:
            rows: the chains.
            plan: their transitions.
            u: the latent coordinates that the data were drawn with.
        """
        v, found = rows.encoded(u), []
        for part in self._parts(len(u), rows.chains):
            some, used = rows.part(part), plan.part(part)
            lower = anneal(some, used).log_prob
            found.append(torch.stack([lower, anneal(some, used, back(some, used, v[part])).log_prob]))
        return torch.cat(found, 1)

    def _parts(self, n: int, chains: int) -> list[slice]:
        """So many data at a time as have the most chains."""
        size = max(ROWS[self.x.device.type] // chains, 1)
        return [slice(start, start + size) for start in range(0, n, size)]

    def gap_of(self, level: tuple[int, int]) -> tuple[float, float]:
        """The mean gap between both bounds with numbers of temperatures and chains, and its standard error, in nats."""
        lower, upper = self.found[_gap_name(level)]
        gaps = upper - lower
        return float(gaps.mean()), float(gaps.std() / len(gaps) ** 0.5)

    def _measure(self, part: slice, schedule: Schedule) -> Tensor:
        """In columns: log p(x), the effective number of chains, and log ∫ f_β and E[tilt] at the kept temperatures."""
        steps, chains = self.level
        rows = self._rows(self.x[part], None if self.y is None else self.y[part], chains)
        plan, *_ = pilot(rows, schedule)
        found = anneal(rows, plan.with_steps(steps, schedule))
        self.found["betas"] = found.kept
        parts = (found.log_prob[None], effective(found.log_weights)[None], found.log_normalisers, found.tilts)
        return torch.cat([part.cpu() for part in parts]).T

    def _rows(self, x: Tensor, y: Tensor | None, chains: int) -> Rows:
        codes = None if self.codes is None else self.codes(x, y)
        return Rows.of(self.decoder, x, y, chains=chains, noise=self.sigma, codes=codes)

    def _simulated(self) -> tuple[Tensor, Tensor | None, Tensor]:
        y = None if self.y is None else self.y[torch.randint(len(self.y), (self.simulated,)).to(self.y.device)]
        x, u = simulate(self.decoder, self.simulated, y, self.sigma)
        return x, y, u

    def results(self) -> Results:
        """What has been found, of all blocks together."""
        steps, chains = self.level
        parts = self._parts(len(self.x), chains)
        blocks = [self.found[f"block-{steps}-{chains}-{i}"] for i in range(len(parts))]
        log_prob, effective_chains, *curves = torch.cat(blocks).unbind(1)
        normalisers, tilts = torch.stack(curves).view(2, -1, len(log_prob)).mean(2)
        return Results(log_prob, float(effective_chains.mean()), self.found["betas"], normalisers, tilts)


def _gap_name(level: tuple[int, int]) -> str:
    return "gap-{}-{}".format(*level)


def _numbers(steps: int, chains: int) -> str:
    return f"{steps} temperatures, {chains} chains"
