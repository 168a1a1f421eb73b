"""Training in several processes: joining those that were started, and a training step that they take together."""

from pyrogen.training.distributed.fabric import joined, restarted
from pyrogen.training.distributed.shared_steps import SharedSteps

__all__ = ["SharedSteps", "joined", "restarted"]
