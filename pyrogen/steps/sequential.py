"""Several steps on each batch: how a model that is both fitted and played with is trained."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pyrogen.data.step_arguments import batch_for
from pyrogen.protocols import Step
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.steps.adversarial import AdversarialGame
from pyrogen.steps.diagnostics import diagnose


class SequentialSteps:
    """Steps that learn from each batch one after another, e.g. an ``SVI`` and an ``AdversarialGame``.

    Args:
        steps: by name, in their order; they may share weights.

    Each call returns the scalars of all; a later step's stand for an earlier one's of the same name.
    """

    def __init__(self, **steps: Step) -> None:
        self.steps = steps

    @property
    def compile(self) -> bool | None:
        """Whether the steps that can be compiled are; set for all of them at once."""
        return next((step.compile for step in self._compilable()), None)

    @compile.setter
    def compile(self, value: bool | None) -> None:
        for step in self._compilable():
            step.compile = value

    def _compilable(self) -> list[Any]:
        return [step for step in self.steps.values() if hasattr(step, "compile")]

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Let every step learn from the batch."""
        logs: dict[str, Tensor] = {}
        for step in self.steps.values():
            logs |= step(*batch_for(step, batch))
        return logs

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The scalars of all steps without learning."""
        logs: dict[str, Tensor] = {}
        for step in self.steps.values():
            logs |= step.evaluate(*batch_for(step, batch))
        return logs

    diagnose = staticmethod(diagnose)

    def state_dict(self) -> dict[str, Any]:
        """The state of every step, by name."""
        return {name: step.state_dict() for name, step in self.steps.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``."""
        for name, step in self.steps.items():
            step.load_state_dict(state[name])


class LatentAdversarialStep:
    """The game on codes: the encoder generates them from data, and the prior draws the real ones.

    At its equilibrium the codes of all data together, ``∫ q(z | x) p(x) dx``, are distributed as the prior. Makhzani et
    al., "Adversarial autoencoders", 2015.

    Args:
        encoder: ``encoder(x) -> z``.
        critic: ``critic(z, y=None) -> (batch,)``.
        prior: ``prior(n) -> z``, or ``prior(n, y) -> z`` given labels.
        options: those of ``AdversarialGame``, but for ``compile``.
    """

    def __init__(self, encoder: nn.Module, critic: nn.Module, prior: Callable[..., Tensor], **options: Any) -> None:
        self.prior = drop_extra_args(prior)
        # A graph would take the batch at hand for a constant.
        self.game = AdversarialGame(encoder, critic, lambda n: self._x, **options, compile=False)

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Learn from one batch of data, and its labels if the prior knows them."""
        return self.game(*self._codes(*batch))

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """Both losses on a batch, without learning."""
        return self.game.evaluate(*self._codes(*batch))

    def _codes(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        self._x = x
        return self.prior(len(x), *rest), *rest

    def state_dict(self) -> dict[str, Any]:
        """That of the game."""
        return self.game.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``."""
        self.game.load_state_dict(state)
