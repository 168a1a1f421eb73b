"""Several steps: all on each batch, or one phase of training after another; and adversarial training of codes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from pyrogen.data.step_arguments import select_arguments
from pyrogen.protocols import Step
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.steps.adversarial import AdversarialGame
from pyrogen.steps.diagnostics import diagnose
from pyrogen.steps.guard import Guard
from pyrogen.steps.locate import LossTerm
from pyrogen.summary import Facts, Summarised


class _Steps(Summarised):
    """Several steps that share a guard and are compiled or not alike."""

    def __init__(self, **steps: Step) -> None:
        self.steps, self.guard = steps, Guard()
        for step in self._having("guard"):
            step.guard = self.guard  # after a fault in one step no other moves the weights that it shares

    def summary(self) -> tuple[str, Facts]:
        """The steps by name."""
        return type(self).__name__, self.steps

    @property
    def compile(self) -> bool | None:
        """Whether the steps that can be compiled are compiled; setting it sets all of them."""
        return next((step.compile for step in self._having("compile")), None)

    @compile.setter
    def compile(self, value: bool | None) -> None:
        for step in self._having("compile"):
            step.compile = value

    def _having(self, name: str) -> list[Any]:
        return [step for step in self.steps.values() if hasattr(step, name)]


class SequentialSteps(_Steps):
    """Several steps that are taken on each batch in order, e.g. an ``SVI`` and an ``AdversarialGame``.

    Args:
        steps: by name, in order; they may share weights.

    Each call returns the scalars of all steps; a later step's scalar replaces an earlier one of the same name.
    """

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Take every step on the batch; return the scalars of all."""
        logs: dict[str, Tensor] = {}
        for step in self.steps.values():
            logs |= step(*select_arguments(step, batch))
        return logs

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The scalars of all steps, without updates."""
        logs: dict[str, Tensor] = {}
        for step in self.steps.values():
            logs |= step.evaluate(*select_arguments(step, batch))
        return logs

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """The losses of all steps on the batch; see ``steps.locate``."""
        for step in self._having("loss_terms"):
            yield from step.loss_terms(*select_arguments(step, batch))

    diagnose = staticmethod(diagnose)

    def state_dict(self) -> dict[str, Any]:
        """The state of every step, by name."""
        return {name: step.state_dict() for name, step in self.steps.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, step in self.steps.items():
            step.load_state_dict(state[name])


class Pretraining(_Steps):
    """Training in two phases: ``until`` calls of one step, then another step.

    ``evaluate`` is that of the second step in both phases, so its scalars are comparable over the whole run. A state
    holds that of the phase it was taken in.

    Args:
        pretraining: the step of the first phase.
        joint: the step of the second phase; both train the same weights.
        until: the number of calls of ``pretraining``, as long as the second phase has not begun.
        begin: called once, before the first call of ``joint``: it sets weights by what the first phase has learned.
    """

    def __init__(self, pretraining: Step, joint: Step, until: int, begin: Callable[[], None]) -> None:
        super().__init__(pretraining=pretraining, joint=joint)
        self.until, self.begin, self.t, self.begun = until, begin, 0, False

    def __call__(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """Take the step of the phase on the batch."""
        if not self.begun and self.t >= self.until:
            self.begin()
            self.begun = True
        step = self._phase
        logs = step(*select_arguments(step, batch))
        self.t += 1
        return logs

    def evaluate(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """The scalars of the second phase, without an update."""
        joint = self.steps["joint"]
        return joint.evaluate(*select_arguments(joint, batch))

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """The losses of the phase's step on the batch; see ``steps.locate``."""
        step: Any = self._phase
        yield from step.loss_terms(*select_arguments(step, batch))

    @property
    def _phase(self) -> Step:
        return self.steps["joint" if self.begun else "pretraining"]

    def state_dict(self) -> dict[str, Any]:
        """The phase, the state of its step, and the number of calls."""
        return {"t": self.t, "begun": self.begun, "step": self._phase.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.t, self.begun = state["t"], state["begun"]
        self._phase.load_state_dict(state["step"])


class LatentAdversarialStep(Summarised):
    """Adversarial training of an encoder: its codes are the samples, draws from the prior are the data.

    At the equilibrium the aggregated posterior ``∫ q(z | x) p(x) dx`` equals the prior. Makhzani et al., "Adversarial
    autoencoders", 2015.

    Args:
        encoder: ``encoder(x) -> z``.
        critic: ``critic(z, y=None) -> (batch,)``.
        prior: ``prior(n) -> z``, or ``prior(n, y) -> z`` given labels.
        options: those of ``AdversarialGame`` except ``compile``: the step runs eagerly.
    """

    def __init__(self, encoder: nn.Module, critic: nn.Module, prior: Callable[..., Tensor], **options: Any) -> None:
        self.prior = drop_extra_args(prior)
        # Not compiled: a graph would bake in the batch, which the encoder reads from an attribute.
        self.game = AdversarialGame(encoder, critic, lambda n: self._x, **options, compile=False)

    def summary(self) -> tuple[str, Facts]:
        """That of its game, in which the encoder is the generator."""
        return type(self).__name__, self.game.summary()[1]

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Take one step on a batch of data, and its labels if the prior takes them."""
        return self.game(*self._codes(*batch))

    @scoped_seed(EVALUATION)
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without updates."""
        return self.game.evaluate(*self._codes(*batch))

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """Both losses of a step on the batch; see ``steps.locate``."""
        yield from self.game.loss_terms(*self._codes(*batch))

    @property
    def guard(self) -> Guard:
        """Prevents updates by values that are not finite."""
        return self.game.guard

    @guard.setter
    def guard(self, guard: Guard) -> None:
        self.game.guard = guard

    def _codes(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        self._x = x
        return self.prior(len(x), *rest), *rest

    def state_dict(self) -> dict[str, Any]:
        """The state of the adversarial step."""
        return self.game.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.game.load_state_dict(state)
