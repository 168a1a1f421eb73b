"""A verdict: the faults found in samples, each with a p-value, and what a sample of this size cannot show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyrogen.measure.intervals import holm
from pyrogen.measure.verdict.hypothesis import FAULTS, Fault, Test

ALPHA = 0.01
"""A fault is named if its p-value, corrected for all tests, is at most this."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with samples.

    Args:
        tests: all tests.
        limits: what a sample of this size cannot show.
        sizes: the numbers of ``samples``, of ``train`` and of ``held`` data.
    """

    tests: tuple[Test, ...]
    limits: str
    sizes: Mapping[str, int]

    @property
    def p_values(self) -> dict[Fault, float]:
        """The p-value of each fault: Bonferroni's over its tests, then Holm's over the faults."""
        deciding = {fault: [t.p_value for t in self.tests if t.fault == fault and t.decides] for fault in FAULTS}
        raw = {fault: min(1.0, len(ps) * min(ps)) for fault, ps in deciding.items()}
        return dict(zip(raw, holm(list(raw.values())), strict=True))

    @property
    def found(self) -> tuple[Fault, ...]:
        """The faults found, the main one first.

        Samples off the data are far from parts of it and may be near each other; few distinct samples miss a part.
        """
        return tuple(fault for fault, p in self.p_values.items() if p <= ALPHA)

    @property
    def lacking(self) -> list[str]:
        """The names of classes that hold less than half of their share of samples."""
        return sorted({name for test in self.tests for name in test.detail.get("lacking", ())})

    @property
    def sentence(self) -> str:
        """One line."""
        if not self.found:
            n = f"{self.sizes['samples']:,} samples and {self.sizes['held']:,} held-out data"
            return f"none found of {', '.join(FAULTS[:-1])}, {FAULTS[-1]}, with {n}"
        noun = "class" if len(self.lacking) == 1 else "classes"
        classes = f": {noun} {', '.join(self.lacking)}" if self.lacking else ""
        texts = {fault: f"p {_p_text(self.p_values[fault])}" for fault in self.found}
        names = {fault: fault + (classes if fault == "misses part of the data" else "") for fault in self.found}
        return "; ".join(f"{names[fault]} ({text})" for fault, text in texts.items())

    def as_dict(self) -> dict[str, Any]:
        """A JSON object: ``found``, ``sentence``, ``lacking``, ``p_values``, ``limits``, ``sizes`` and ``tests``."""
        return {
            "found": list(self.found),
            "sentence": self.sentence,
            "lacking": self.lacking,
            "p_values": self.p_values,
            "limits": self.limits,
            "sizes": dict(self.sizes),
            "tests": [test.as_dict() for test in self.tests],
        }


def _p_text(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".")
