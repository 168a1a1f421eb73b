"""Stochastic variational inference as a step.

    maximise over θ, φ   ELBO(x) = E_{q_φ(z|x)} [log p_θ(x, z) - log q_φ(z|x)]  ≤  log p_θ(x)

With an empty guide this is maximum likelihood. The signature is Pyro's; unlike Pyro's, the step has its own parameter
store, so that two models do not share parameters of the same name.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.optim import PyroOptim
from pyro.params.param_store import ParamStoreDict
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.compile.elbo import CompiledELBO
from pyrogen.data.step_arguments import explain_dtype_errors
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives.pyro_losses import as_loss
from pyrogen.pyro_tools import template
from pyrogen.pyro_tools.predictive import sample_predictive
from pyrogen.pyro_tools.programs import Program, arity
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.steps.guard import Guard
from pyrogen.steps.in_graph.updates import UpdatesInGraph
from pyrogen.steps.locate import LossTerm
from pyrogen.steps.optimizers import MakeOptimizer
from pyrogen.steps.site_faults import SiteMessages
from pyrogen.steps.svi_update import SVIUpdate
from pyrogen.summary import Facts, Summarised


def no_guide(*_: Any, **__: Any) -> None:
    """The empty guide, of a model without latent variables."""


class SVI(Summarised):
    """One step of stochastic variational inference: ``step(*args, **kwargs) -> {"loss": …}``.

    Model and guide receive exactly the arguments of the step. The step trains the parameters of every network that
    ``model`` and ``guide`` are, are methods of or refer to, every ``pyro.param`` and ``pyro.module`` site, and every
    other leaf tensor that the loss depends on. They are collected on the first batch, because a guide may create them
    then; parameters that appear or are unfrozen later are added.

    ``svi.model``, ``svi.guide`` and ``svi.sample`` use the trained parameters, so the step itself can be evaluated and
    compared like a model of the library. ``step``, ``evaluate_loss`` and ``run`` are those of ``pyro.infer.SVI``,
    whose values are sums over the data.

    Args:
        model: a Pyro program ``model(x, y=None)``.
        guide: its guide, with the same arguments; empty by default.
        optim: a factory of torch optimisers, e.g. ``partial(Adam, lr=1e-3)``, or an optimiser of ``pyro.optim``, whose
            arguments may depend on the parameter's name; ``Adam`` by default.
        loss: a Pyro ELBO, or a function ``loss(model, guide, *args, **kwargs)``; ``Trace_ELBO()`` by default.
        loss_and_grads: for a function as loss, computes it and accumulates its gradients; by default the loss is
            differentiated.
        clip_norm: the maximum norm of the gradient of all parameters; ``None`` for no clipping.
        schedule: makes a learning-rate schedule of the optimiser, stepped after each update, e.g.
            ``partial(CosineAnnealingLR, T_max=steps)``.
        compile: whether the loss and its gradients run as one compiled graph (see ``CompiledELBO``), after the
            first step; by default after ``COMPILE_AFTER`` steps, so that a short run is not delayed by compilation.
        constant: names of attributes and variables of the programs that never change; a compiled step does not check
            them.
        store: ``"own"``, or ``"global"`` to keep the sites in Pyro's global parameter store.

    Raises:
        ConfigError: if ``optim`` is not a factory of optimisers, or there are no trainable parameters.
    """

    def __init__(
        self,
        model: Program,
        guide: Program | None = None,
        optim: MakeOptimizer | PyroOptim | None = None,
        loss: ELBO | Callable[..., Any] | None = None,
        loss_and_grads: Callable[..., Any] | None = None,
        *,
        clip_norm: float | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        compile: bool | None = None,
        constant: Collection[str] = (),
        store: str = "own",
    ) -> None:
        if store not in ("own", "global"):
            raise ConfigError(f"store must be 'own' or 'global'; got {store!r}")
        self._model, self._guide = model, guide or no_guide
        self.takes = {"model": arity(model), "guide": arity(self._guide)}
        owner = getattr(model, "__self__", model)
        self.condition = getattr(owner, "condition", None)
        self._sample = getattr(owner, "sample", None)
        if self._sample is not None:
            self.takes["sample"] = arity(self._sample)
        self.loss = as_loss(loss or Trace_ELBO(), loss_and_grads)
        compiled = self.loss if isinstance(self.loss, CompiledELBO) else CompiledELBO(self.loss, constant)
        self._update = SVIUpdate(
            self._model, self._guide, compiled, optim or torch.optim.Adam, schedule, clip_norm, shared=store == "global"
        )
        self._compiled = compiled
        self.compile = compile

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Take one optimiser step on the batch; return ``{"loss": …}`` before the update, in nats per datum."""
        with explain_dtype_errors(self, args):
            loss, count = self._update.step(args, kwargs, self.compile)
        return _per_datum(loss, count)

    @scoped_seed(EVALUATION)
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """``{"loss": …}`` in nats per datum, with every network in evaluation mode and without an update.

        Every call has the same random numbers.
        """
        with eval_mode(self), explain_dtype_errors(self, args):
            loss, count = self._update.loss(self.loss.loss, args, kwargs)
        return _per_datum(loss, count)

    def summary(self) -> tuple[str, Facts]:
        """The programs, the loss, and how far training is."""
        names = (getattr(f, "__qualname__", type(f).__name__) for f in (self._model, self._guide))
        return "SVI", dict(zip(("model", "guide"), names, strict=True)) | {"loss": type(self.loss).__name__}

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Create the parameters and the optimiser without an update; the first step does so by itself."""
        self._update.setup(args, kwargs)

    def loss_terms(self, *args: Any, **kwargs: Any) -> Iterator[LossTerm]:
        """The loss on the batch, summed over the data, with its sites and the weights; see ``steps.locate``."""
        loss: Any = self._compiled.eager
        function = getattr(loss, "differentiable_loss", loss.loss)
        with torch.enable_grad(), SiteMessages() as met:
            value = self._update.loss(function, args, kwargs, grad=True)[0]
        parts = value if isinstance(value, tuple) else (value,)
        for name, part in zip(("loss", "guide_loss"), parts, strict=False):
            yield LossTerm(name, _scalar(part), self.weights(), met.sites)

    @property
    def guard(self) -> Guard:
        """Prevents updates by values that are not finite."""
        return self._update.guard

    @guard.setter
    def guard(self, guard: Guard) -> None:
        self._update.guard = guard

    # The interface of pyro.infer.SVI.

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """One optimiser step; return the loss summed over the data, a float, as ``pyro.infer.SVI.step`` does."""
        return _number(self._update.step(args, kwargs, self.compile, lenient=True)[0])

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss summed over the data, a float, without an update; networks keep their mode."""
        return _number(self._update.loss(self.loss.loss, args, kwargs)[0])

    def run(self, *args: Any, num_steps: int = 1, **kwargs: Any) -> "SVI":
        """Take ``num_steps`` steps on the same arguments; return the step."""
        for _ in range(num_steps):
            self.step(*args, **kwargs)
        return self

    def get_param_store(self) -> ParamStoreDict:
        """The parameter sites of this step as Pyro's store: constrained values by name."""
        return self._update.trained.sites.as_pyro()

    def param(self, name: str) -> Tensor:
        """The constrained value of a ``pyro.param`` site.

        Raises:
            ConfigError: if there is no site of that name; the message lists the known ones.
        """
        sites = self._update.trained.sites
        if name not in sites.params:
            raise ConfigError(f"there is no parameter site {name!r} (known: {', '.join(sites.params) or 'none yet'})")
        return sites.value(name)

    # The interface of a trained model.

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The model with the trained parameters."""
        return self._update.run(self._model, args, kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The guide with the trained parameters."""
        return self._update.run(self._guide, args, kwargs)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``n`` data, ``(n, *event)``: local latent variables from the prior, shared ones from the guide.

        If ``model`` is a method of an object with a method ``sample(n, y)``, that method draws.

        Raises:
            ConfigError: before the first step, when the shape of the data is not known.
        """
        self._update.require_state()
        with self._update.trained.sites, eval_mode(self):
            if self._sample is not None:
                return self._sample(n, y)
            like = template.first_datum(self._update.template)
            if like is None:
                raise ConfigError("the shape of the data is not known before the first step: train, then sample")
            return sample_predictive(self._model, self._guide, like.to(self._update.trained.device), n, y)

    @property
    def t(self) -> int:
        """The number of steps taken."""
        return self._update.t

    @property
    def optimizer(self) -> Optimizer | None:
        """The torch optimiser; ``None`` before the first step."""
        return self._update.optimizer.optimizer

    @property
    def schedule(self) -> LRScheduler | None:
        """The schedule of the learning rate, if there is one."""
        return self._update.optimizer.schedule

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly although it was to be compiled; ``None`` if it does not."""
        return self._update.refused

    @property
    def updates_in_graph(self) -> list[UpdatesInGraph]:
        """The updates that may be part of its compiled steps, see ``exclusive``."""
        return [self._update.optimizer.in_graph]

    def modules(self) -> Iterator[nn.Module]:
        """Every module that model, guide and loss reach, and its submodules."""
        return self._update.trained.modules()

    def weights(self) -> dict[str, Tensor]:
        """Parameters, buffers and unconstrained sites by name; the tensors themselves, not copies."""
        return self._update.trained.weights()

    def state_dict(self) -> dict[str, Any]:
        """The state needed to continue bit for bit, or to use the trained model, without the data."""
        return self._update.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError: if the weights are not those of this model.
        """
        self._update.load_state_dict(dict(state))


def _per_datum(loss: Any, count: Any) -> dict[str, Tensor]:
    """A loss in nats per datum; the two losses of reweighted wake-sleep are the model's and the guide's."""
    if isinstance(loss, Tensor):
        return {"loss": loss / count}
    parts = loss if isinstance(loss, tuple) else (loss,)
    return {name: _scalar(part) / count for name, part in zip(("loss", "guide_loss"), parts, strict=False)}


def _scalar(part: Any) -> Tensor:
    """A loss as a tensor: a Python float, which some of Pyro's losses return, has the digits of float64."""
    return part if isinstance(part, Tensor) else torch.tensor(part, dtype=torch.float64)


def _number(loss: Any) -> Any:
    if isinstance(loss, tuple):
        return type(loss)(map(_number, loss))
    return loss.item() if isinstance(loss, Tensor) else loss
