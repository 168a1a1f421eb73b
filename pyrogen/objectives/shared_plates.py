"""On several processes, the data plate of a process's rows as a subsample of the whole batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO, TraceTailAdaptive_ELBO
from pyro.poutine.messenger import Messenger

from pyrogen import ranks
from pyrogen.errors import ConfigError
from pyrogen.objectives.elbo import ROW_PLATES, Objective
from pyrogen.objectives.elbo_terms import rows_of

SUMS = (Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO, TraceEnum_ELBO, Objective)
"""Losses that are linear in the scale of a plate."""


def plates_of_batch(
    loss: Any, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...]
) -> AbstractContextManager[object]:
    """A handler under which ``plate(len(x))`` is that of B rows, of which these are a subsample.

    In a single process it does nothing.

    The loss of ``plate(N, subsample_size=len(x))`` is an estimate of that of N data already. In either form the mean of
    the processes' losses, weighted by their rows, is the loss of the batch, with latent variables outside the plate
    counted once.

    Args:
        loss: of the pair; what is known of its plates lives as long as this object.
        model, guide, args: the pair and its arguments.

    Raises:
        ConfigError: if the loss is one of Pyro's that is no sum over data.
    """
    share = ranks.share()
    if share is None:
        return nullcontext()
    if isinstance(loss, ELBO) and (not isinstance(loss, SUMS) or isinstance(loss, TraceTailAdaptive_ELBO)):
        raise ConfigError(
            f"{type(loss).__name__} is no sum over the data of a plate, which the loss must be on several processes: "
            f"use one of {', '.join(kind.__name__ for kind in SUMS[:-1])}, or of pyrogen.objectives, such as IWAE"
        )
    rows = rows_of(args)
    return _PlatesOfBatch(share, None if rows is None else ROW_PLATES(loss, model, guide, args))


class _PlatesOfBatch(Messenger):
    """Scales sites in the data plate by B / n_r and sets the full size of the plate to B.

    Args:
        share: the rows of this process and of the batch.
        names: of the plates that follow the rows; ``None`` if they are to be found by their size.

    Raises:
        ConfigError: at the end, if no observed site was in a data plate, so that the loss of the batch is not known.
    """

    is_transparent = True  # a graph, which is specialised to the share, has the scale in it

    def __init__(self, share: ranks.Share, names: frozenset[str] | None) -> None:
        super().__init__()
        self.share, self.names = share, names
        self.ran, self.met = False, False

    def _pyro_sample(self, msg: Any) -> None:
        self.ran |= msg["is_observed"]
        frames = list(msg["cond_indep_stack"])
        for i, frame in enumerate(frames):
            if not (frame.size == self.share.rows if self.names is None else frame.name in self.names):
                continue
            self.met |= msg["is_observed"]
            if frame.full_size in (None, frame.size, self.share.rows):
                msg["scale"] = msg["scale"] * max(self.share.total / frame.size, 1.0)
                frames[i] = frame._replace(full_size=self.share.total)
        msg["cond_indep_stack"] = tuple(frames)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self.ran and not self.met and error[0] is None:
            raise ConfigError(
                "on several processes the observed sites must be in a plate of the rows, "
                "`with pyro.plate('data', len(x))`: the loss of a part of the batch cannot be told otherwise"
            )
