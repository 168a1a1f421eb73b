"""One test of samples against data: what it looked for, and its p-value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Fault = Literal["copies", "off the data", "narrow", "misses part of the data"]
"""What can be wrong with samples, in the order in which a verdict names it."""
FAULTS: tuple[Fault, ...] = ("copies", "off the data", "narrow", "misses part of the data")


@dataclass(frozen=True)
class Test:
    """A test of the hypothesis that samples do not have a fault.

    Args:
        fault: the fault.
        name: of the test.
        space: where distances are measured: ``pixels``, ``values`` of a table, or the name of a feature space.
        value: of the statistic.
        p_value: the probability of a value as extreme without the fault.
        decides: whether the verdict rests on it; otherwise it is shown beside.
        detail: further values.
    """

    __test__ = False  # no test case of pytest

    fault: Fault
    name: str
    space: str
    value: float
    p_value: float
    decides: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """A JSON object."""
        fields = {"kind": self.fault, "name": self.name, "space": self.space, "value": self.value}
        return {**fields, "p_value": self.p_value, "decides": self.decides, **self.detail}


def excess(a: int, n: int, b: int, m: int, factor: float = 1.0) -> float:
    """The p-value of ``P(A) ≤ factor · Q(A)``, of a of n draws from P and b of m draws from Q in a set A.

    Given a + b, and for shares that are small, a is binomial with odds ``factor · n : m``.
    """
    from scipy.special import bdtrc

    return float(bdtrc(a - 1, a + b, factor * n / (factor * n + m))) if a else 1.0


def deficit(a: int, n: int, b: int, m: int, factor: float) -> float:
    """The p-value of ``P(A) ≥ Q(A) / factor``, with a, n, b and m as for ``excess``."""
    from scipy.special import bdtr

    return float(bdtr(a, a + b, n / (n + factor * m))) if b else 1.0


def halves(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random half of n rows, ``bool (n,)``."""
    return rng.permutation(n) % 2 == 0
