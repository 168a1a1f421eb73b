"""Runs of a given time: when a run is planned anew, and for how many steps.

The number of steps that a time suffices for is known only in the end, and the schedules of a recipe (of the learning
rate, of a penalty) follow that number. A run of a given time is planned for as many steps as its latest pace gives, and
is planned anew at the ends of ``STAGES``, so that schedules are near their end when the time is up.
"""

from dataclasses import dataclass

STAGES = (1 / 16, 1 / 4, 5 / 8, 7 / 8, 1.0)
"""The shares of the time at which a run is planned anew."""
FINE = 0.01
"""A plan is not extended by less than this share of its steps."""


@dataclass(frozen=True)
class Stage:
    """A part of a run between two plans.

    Args:
        seconds: the time of the whole run; ``None`` for a run of a given number of steps.
        used: the time that was used before.
        start: the number of steps that were taken before.
    """

    seconds: float | None
    used: float
    start: int

    def ends(self, used: float) -> bool:
        """Whether the stage ends, with so much time used of the run."""
        return self.seconds is not None and used >= self.seconds * self._share

    def ends_run(self, used: float) -> bool:
        """Whether the time of the run is up."""
        return self.seconds is not None and used >= self.seconds

    @property
    def _share(self) -> float:
        """The first of ``STAGES`` that had not been reached."""
        assert self.seconds is not None
        return next((share for share in STAGES if share * self.seconds > self.used), 1.0)

    def plan(self, t: int, used: float) -> int:
        """The number of the last step, by the pace of this stage; t if the run is over.

        Args:
            t: the number of the latest step.
            used: the time used so far.
        """
        if self.seconds is None or self.ends_run(used) or t == self.start or used <= self.used:
            return t
        more = int((self.seconds - used) * (t - self.start) / (used - self.used))
        return t + more if more >= max(1, FINE * t) else t
