"""Stochastic variational inference as a step.

    maximise over θ, φ   ELBO(x) = E_{q_φ(z|x)} [log p_θ(x, z) - log q_φ(z|x)]  ≤  log p_θ(x)

With an empty guide this is maximum likelihood. The signature is Pyro's; the difference is that the
step owns its parameters, so that two models never share one by the accident of a name.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.errors import ConfigError
from pyrogen.infer.compiled import CompiledELBO
from pyrogen.infer.parameters import assign, leaves, modules_of, unique, weights_of
from pyrogen.infer.predictive import draw
from pyrogen.infer.programs import MakeOptimizer, Program, make_optimizer, places, taking
from pyrogen.infer.trusted import compiles
from pyrogen.nn.modes import evaluating
from pyrogen.random import scoped_seed


def no_guide(*_: Any) -> None:
    """The guide of a model without latent variables: SVI is then maximum likelihood."""


class SVI:
    """One step of stochastic variational inference: ``step(*batch) -> {"loss": …}``.

    Trained are the parameters of every network that ``model`` and ``guide`` are, are methods of or refer
    to, every ``pyro.param`` and ``pyro.module`` site, and any other leaf that the loss depends on. They
    are collected when the first batch is seen, because a guide may make its own then.

    ``svi.model``, ``svi.guide`` and ``svi.sample`` see the trained parameters from anywhere, so the
    step itself can be evaluated and compared like a model of the library.

    Args:
        model: a Pyro program ``model(x, y=None)``. Trailing arguments that it has no place for (the
            labels, for a model of ``x`` alone) are not passed to it.
        guide: its guide, with the same arguments; empty by default.
        optim: makes a torch optimiser of parameters, e.g. ``partial(Adam, lr=1e-3)``; ``Adam`` by default.
        loss: a Pyro ELBO; ``Trace_ELBO()`` by default.
        clip_norm: the largest norm of the whole gradient; ``None`` leaves it alone.
        schedule: makes a learning-rate schedule of the optimiser, stepped after each update, e.g.
            ``partial(CosineAnnealingLR, T_max=steps)``.
        compile: whether the loss and its gradients run as one compiled graph (see ``CompiledELBO``), after the
            first step; by default after ``COMPILE_AFTER`` steps, so that a short run does not wait for a compiler.

    Raises:
        ConfigError: if ``optim`` is no maker of torch optimisers, or nothing can be trained.
    """

    def __init__(
        self,
        model: Program,
        guide: Program | None = None,
        optim: MakeOptimizer | None = None,
        loss: ELBO | None = None,
        *,
        clip_norm: float | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        compile: bool | None = None,
    ) -> None:
        if optim is not None and (not callable(optim) or hasattr(optim, "pt_optim_constructor")):
            given = f"{type(optim).__module__}.{type(optim).__name__}"
            raise ConfigError(
                f"optim must make a torch optimiser, e.g. partial(torch.optim.Adam, lr=1e-3); got {given}"
            )
        guide = guide or no_guide
        most = places(model)
        self._model = taking(model, most)
        self._guide = taking(guide, min(most, places(guide)))
        self._modules = modules_of(model, "model")
        owned = {id(m) for m in self._modules.values()}
        self._modules |= {name: m for name, m in modules_of(guide, "guide").items() if id(m) not in owned}
        owner = getattr(model, "__self__", model)
        self._sample = getattr(owner, "sample", None)
        if hasattr(owner, "log_prob_label"):
            self.log_prob_label = owner.log_prob_label
        self._sites: dict[str, Any] = {"params": {}, "constraints": {}}  # a parameter store of our own
        self._strays: dict[str, Tensor] = {}  # leaves of the loss that no network and no site owns
        self._known_sites = 0
        self._rows = _DataRows()
        self._counts: dict[Any, int] = {}  # data in a batch, by its shapes
        self.t = 0
        self._like: Tensor | None = None
        self._pending: dict[str, Any] | None = None
        self._make_optimizer = optim or torch.optim.Adam
        self._make_schedule = schedule
        self.loss = loss or Trace_ELBO()
        self.compile = compile
        self._compiled = self.loss if isinstance(self.loss, CompiledELBO) else CompiledELBO(self.loss)
        if isinstance(self._compiled.eager, nn.Module):  # an objective with a schedule keeps its place in it
            self._modules["loss"] = self._compiled.eager
        self.clip_norm = clip_norm
        self.optimizer: Optimizer | None = None
        self.schedule: LRScheduler | None = None

    @torch.enable_grad()
    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Take one optimiser step on the batch; return the negative ELBO before it, in nats per datum."""
        if self._pending is not None:
            self.setup(*batch)
        loss = self._differentiate(batch)
        assert self.optimizer is not None
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], self.clip_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.t += 1
        return {"loss": loss / self._data_in(batch)}

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The negative ELBO in nats per datum, with every network in evaluation mode and nothing moved."""
        if self._pending is not None:
            self.setup(*batch)
        with torch.no_grad(), self._store(), evaluating(self), self._rows:
            loss = self.loss.loss(self._model, self._guide, *batch)
        return {"loss": torch.as_tensor(loss) / self._data_in(batch)}

    def setup(self, *batch: Tensor) -> None:
        """Make the parameters and the optimiser without learning, and take up a loaded state.

        Only needed to use a loaded step before its first batch: ``__call__`` and ``evaluate`` do it.
        """
        if self.optimizer is None:
            with scoped_seed(0):
                self._differentiate(batch)
            assert self.optimizer is not None
            self.optimizer.zero_grad()
        if self._pending is not None:
            state, self._pending = self._pending, None
            self.load_state_dict(state)

    def _differentiate(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The loss, with its gradients added to the parameters."""
        first = self.optimizer is None
        if self.optimizer is not None:
            self.optimizer.zero_grad()  # of all weights: another step may have left gradients on shared ones
        with self._store(), self._rows:
            if not first and compiles(self.compile, self.t):
                found = self._compiled.gradients(self._model, self._guide, *batch)
                if found is not None:
                    found.store()
                    return found.values[0]
            eager = self._compiled.eager
            if not hasattr(eager, "differentiable_loss"):  # RenyiELBO and its like differentiate by themselves
                loss = torch.as_tensor(eager.loss_and_grads(self._registered, self._guide, *batch))
            else:
                loss = eager.differentiable_loss(self._model, self._guide, *batch)
        if first:
            self._begin(batch, loss)
        elif len(self._sites["params"]) != self._known_sites:
            self._adopt_new_sites()
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    def _data_in(self, batch: tuple[Tensor, ...]) -> int:
        """How many data the loss of a batch speaks of; a compiled step meets no plate, and remembers."""
        shapes = tuple(getattr(t, "shape", None) for t in batch)
        if self._rows.count is not None:
            self._counts[shapes], self._rows.count = self._rows.count, None
        return self._counts.get(shapes, 1)

    def _registered(self, *args: Any) -> Any:
        """The model with every network at a parameter site: without one, Pyro takes no gradient by itself."""
        for name, module in self._modules.items():
            pyro.module(name, module)
        return self._model(*args)

    def _begin(self, batch: tuple[Tensor, ...], loss: Tensor) -> None:
        if batch and isinstance(batch[0], Tensor) and batch[0].ndim:
            self._like = batch[0][0].detach().clone()
        owned = {id(t) for t in self.weights().values()}
        strays = [t for t in leaves(loss) if id(t) not in owned]
        self._strays = {f"leaf.{i}": t for i, t in enumerate(strays)}
        trained = [t for t in self.weights().values() if t.requires_grad]
        if not trained:
            raise ConfigError(
                "nothing to train: model and guide have no network, pyro.param or autoguide that requires a gradient"
            )
        self.optimizer = make_optimizer(self._make_optimizer, trained)
        self.schedule = self._make_schedule(self.optimizer) if self._make_schedule else None
        self._known_sites = len(self._sites["params"])

    def _adopt_new_sites(self) -> None:
        """Train what a ``pyro.param`` statement made that no earlier step had reached."""
        assert self.optimizer is not None
        had = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        new = [t for t in self.weights().values() if t.requires_grad and id(t) not in had]
        if new:
            self.optimizer.add_param_group({"params": new})
        self._known_sites = len(self._sites["params"])

    def _store(self) -> Any:
        return pyro.get_param_store().scope(self._sites)

    # What follows lets the step stand for the trained model.

    def model(self, *args: Any) -> Any:
        """The model under the trained parameters."""
        with self._store():
            return self._model(*args)

    def guide(self, *args: Any) -> Any:
        """The guide under the trained parameters."""
        with self._store():
            return self._guide(*args)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``n`` data, ``(n, *event)``: local latents from the prior, shared ones from the guide.

        A model whose owner has a ``sample`` of its own is drawn from by that.

        Raises:
            ConfigError: before the first step, when the shape of the data is not known.
        """
        if self._sample is not None:
            with self._store(), evaluating(self):
                return self._sample(n, y)
        if self._like is None:
            raise ConfigError("the shape of the data is not known before the first step: train, then sample")
        with self._store(), evaluating(self):
            return draw(self._model, self._guide, self._like, n, y)

    def modules(self) -> Iterator[nn.Module]:
        """Every network that is trained, and its parts."""
        for module in self._modules.values():
            yield from module.modules()

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name: parameters, buffers, unconstrained sites; the live tensors."""
        sites = {f"param.{name}": t for name, t in self._sites["params"].items()}
        return unique(weights_of(self._modules) | sites | self._strays)

    def state_dict(self) -> dict[str, Any]:
        """The weights, the state of the optimiser and of its schedule, and the number of steps."""
        return {
            "weights": {name: t.detach() for name, t in self.weights().items()},
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "t": self.t,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``; before the first batch it waits until the parameters exist.

        Raises:
            KeyError: if the weights are not those of this model.
        """
        if self.optimizer is None:
            self._pending = state if state["optimizer"] is not None else None
            return
        assign({name: t.detach() for name, t in self.weights().items()}, state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.t = state["t"]


class _DataRows(Messenger):
    """Counts the data that a loss speaks of: the full size of the outermost plate around what is observed."""

    count: int | None = None

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            plates = [f for f in msg["cond_indep_stack"] if f.name != "num_particles_vectorized"]
            if plates:
                self.count = plates[0].full_size or plates[0].size
