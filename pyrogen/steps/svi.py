"""Stochastic variational inference as a step.

    maximise over θ, φ   ELBO(x) = E_{q_φ(z|x)} [log p_θ(x, z) - log q_φ(z|x)]  ≤  log p_θ(x)

With an empty guide this is maximum likelihood. The signature is Pyro's; the difference is that the
step owns its parameters, so that two models never share one by the accident of a name.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.compile.elbo import CompiledELBO
from pyrogen.data.step_arguments import types_named
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives.pyro_losses import as_loss
from pyrogen.pyro_tools import template
from pyrogen.pyro_tools.predictive import draw
from pyrogen.pyro_tools.programs import Program, arity
from pyrogen.steps.optimizers import MakeOptimizer
from pyrogen.steps.svi_update import Learning


def no_guide(*_: Any, **__: Any) -> None:
    """The guide of a model without latent variables: SVI is then maximum likelihood."""


class SVI:
    """One step of stochastic variational inference: ``step(*args, **kwargs) -> {"loss": …}``.

    Model and guide are given exactly what the step is given. Trained are the parameters of every network that
    ``model`` and ``guide`` are, are methods of or refer to, every ``pyro.param`` and ``pyro.module`` site, and any
    other leaf that the loss depends on. They are collected when the first batch is seen, because a guide may make its
    own then; those that appear or are unfrozen later join them.

    ``svi.model``, ``svi.guide`` and ``svi.sample`` see the trained parameters from anywhere, so the step itself can
    be evaluated and compared like a model of the library. ``step``, ``evaluate_loss`` and ``run`` are those of
    ``pyro.infer.SVI``, whose values are sums over the data.

    Args:
        model: a Pyro program ``model(x, y=None)``.
        guide: its guide, with the same arguments; empty by default.
        optim: makes a torch optimiser of parameters, e.g. ``partial(Adam, lr=1e-3)``, or one of ``pyro.optim``, whose
            arguments may depend on the parameter's name; ``Adam`` by default.
        loss: a Pyro ELBO, or a function ``loss(model, guide, *args, **kwargs)``; ``Trace_ELBO()`` by default.
        loss_and_grads: with a function as loss, what computes it and adds its gradients; by default it is
            differentiated.
        clip_norm: the largest norm of the whole gradient; ``None`` leaves it alone.
        schedule: makes a learning-rate schedule of the optimiser, stepped after each update, e.g.
            ``partial(CosineAnnealingLR, T_max=steps)``.
        compile: whether the loss and its gradients run as one compiled graph (see ``CompiledELBO``), after the
            first step; by default after ``COMPILE_AFTER`` steps, so that a short run does not wait for a compiler.
        constant: names of attributes and variables of the programs that never change; a compiled step does not look
            at them.
        store: ``"own"``, or ``"global"`` to keep the sites in Pyro's global parameter store.

    Raises:
        ConfigError: if ``optim`` is no maker of torch optimisers, or nothing can be trained.
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
        self._learning = Learning(
            self._model, self._guide, compiled, optim or torch.optim.Adam, schedule, clip_norm, shared=store == "global"
        )
        self._compiled = compiled
        self.compile = compile

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Take one optimiser step on the batch; return the negative ELBO before it, in nats per datum."""
        with types_named(self, args):
            loss, count = self._learning.step(args, kwargs, self.compile)
        return _per_datum(loss, count)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The negative ELBO in nats per datum, with every network in evaluation mode and nothing moved."""
        with eval_mode(self), types_named(self, args):
            loss, count = self._learning.loss(self.loss.loss, args, kwargs)
        return _per_datum(loss, count)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Make the parameters and the optimiser without learning: ``step`` does it by itself."""
        self._learning.setup(args, kwargs)

    # What Pyro's users call it by.

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """One optimiser step; return the loss summed over the data, a float, as ``pyro.infer.SVI.step`` does."""
        return _number(self._learning.step(args, kwargs, self.compile, lenient=True)[0])

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss summed over the data, a float, without learning; in the mode that the networks are in."""
        return _number(self._learning.loss(self.loss.loss, args, kwargs)[0])

    def run(self, *args: Any, num_steps: int = 1, **kwargs: Any) -> "SVI":
        """Take ``num_steps`` steps on the same arguments; return the step."""
        for _ in range(num_steps):
            self.step(*args, **kwargs)
        return self

    def param(self, name: str) -> Tensor:
        """The constrained value of a ``pyro.param`` site.

        Raises:
            ConfigError: if there is none of that name; the message lists those there are.
        """
        sites = self._learning.owned.sites
        if name not in sites.params:
            raise ConfigError(f"there is no parameter site {name!r} (known: {', '.join(sites.params) or 'none yet'})")
        return sites.value(name)

    # What follows lets the step stand for the trained model.

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The model under the trained parameters."""
        return self._learning.run(self._model, args, kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The guide under the trained parameters."""
        return self._learning.run(self._guide, args, kwargs)

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw ``n`` data, ``(n, *event)``: local latents from the prior, shared ones from the guide.

        A model whose owner has a ``sample`` of its own is drawn from by that.

        Raises:
            ConfigError: before the first step, when the shape of the data is not known.
        """
        self._learning.require_state()
        with self._learning.owned.sites, eval_mode(self):
            if self._sample is not None:
                return self._sample(n, y)
            like = template.datum(self._learning.template)
            if like is None:
                raise ConfigError("the shape of the data is not known before the first step: train, then sample")
            return draw(self._model, self._guide, like.to(self._learning.owned.device), n, y)

    @property
    def t(self) -> int:
        """The number of steps taken."""
        return self._learning.t

    @property
    def optimizer(self) -> Optimizer | None:
        """The torch optimiser; ``None`` before the first step."""
        return self._learning.optimizer.optimizer

    @property
    def schedule(self) -> LRScheduler | None:
        """The schedule of the learning rate, if there is one."""
        return self._learning.optimizer.schedule

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly although it was to be compiled; ``None`` if it does not."""
        return self._learning.compiled.refused

    def modules(self) -> Iterator[nn.Module]:
        """Every network that model, guide and loss reach, and its parts."""
        return self._learning.owned.modules()

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name: parameters, buffers, unconstrained sites; the live tensors."""
        return self._learning.owned.weights()

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly, or to stand for the trained model, without the data."""
        return self._learning.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back ``state_dict``: the step is then the one that it was taken of.

        Raises:
            KeyError: if the weights are not those of this model.
        """
        self._learning.load_state_dict(dict(state))


def _per_datum(loss: Any, count: Any) -> dict[str, Tensor]:
    """A loss in nats per datum; of wake-sleep's two, the model's and the guide's."""
    parts = loss if isinstance(loss, tuple) else (loss,)
    return {name: torch.as_tensor(part) / count for name, part in zip(("loss", "guide_loss"), parts, strict=False)}


def _number(loss: Any) -> Any:
    if isinstance(loss, tuple):
        return type(loss)(map(_number, loss))
    return loss.item() if isinstance(loss, Tensor) else loss
