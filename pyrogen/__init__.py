"""Deep generative models on Pyro: define them, train them, and compare explicit with implicit models.

A model samples, a step learns, a loop repeats, a measure judges. Importing changes no global setting of torch
or Pyro.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrogen import (
        bench,
        cli,
        comparison,
        compile,
        data,
        experiments,
        explicit,
        hybrid,
        implicit,
        measure,
        nn,
        objectives,
        pyro_tools,
        recipes,
        reconstruction,
        report,
        steps,
        testing,
        training,
        use,
    )
    from pyrogen.comparison.compare import compare
    from pyrogen.data.loading import load
    from pyrogen.data.shown import show
    from pyrogen.experiments.run import experiment
    from pyrogen.measure.evaluate import evaluate
    from pyrogen.protocols import Density, Implicit, LatentVariable, Pair, Sampler, Score, Stateful, Step
    from pyrogen.steps.adversarial import AdversarialGame
    from pyrogen.steps.svi import SVI
    from pyrogen.training.checkpoint import restore, save
    from pyrogen.training.loop import EarlyStopping, fit
    from pyrogen.training.opened import open
    from pyrogen.training.start import train

__version__ = "0.2.0"
__all__ = [
    "ROOMS",
    "SVI",
    "AdversarialGame",
    "Density",
    "EarlyStopping",
    "Implicit",
    "LatentVariable",
    "Pair",
    "Sampler",
    "Score",
    "Stateful",
    "Step",
    "bench",
    "cli",
    "compare",
    "comparison",
    "compile",
    "data",
    "evaluate",
    "experiment",
    "experiments",
    "explicit",
    "fit",
    "hybrid",
    "implicit",
    "load",
    "measure",
    "nn",
    "objectives",
    "open",
    "pyro_tools",
    "recipes",
    "reconstruction",
    "report",
    "restore",
    "save",
    "show",
    "steps",
    "testing",
    "train",
    "training",
    "use",
]

ROOMS = (
    *("nn", "data"),
    *("implicit", "reconstruction", "explicit", "hybrid"),
    *("pyro_tools", "compile", "objectives", "steps"),
    *("report", "recipes", "training", "measure", "use", "comparison", "experiments", "cli"),
    *("testing", "bench"),
)
"""The subpackages in order of dependency: each imports only from those before it and from the top-level modules."""

_HOMES = {
    "AdversarialGame": "steps.adversarial",
    "EarlyStopping": "training.loop",
    "SVI": "steps.svi",
    "compare": "comparison.compare",
    "evaluate": "measure.evaluate",
    "experiment": "experiments.run",
    "fit": "training.loop",
    "load": "data.loading",
    "open": "training.opened",
    "restore": "training.checkpoint",
    "save": "training.checkpoint",
    "show": "data.shown",
    "train": "training.start",
}
_HOMES |= dict.fromkeys(
    ("Density", "Implicit", "LatentVariable", "Pair", "Sampler", "Score", "Stateful", "Step"), "protocols"
)

if not TYPE_CHECKING:  # for a type checker, a module with ``__getattr__`` has every attribute

    def __getattr__(name: str) -> Any:
        """Import a public name on first access, because importing torch takes seconds."""
        if name in _HOMES:
            return getattr(import_module(f"pyrogen.{_HOMES[name]}"), name)
        if name in ROOMS:
            return import_module(f"pyrogen.{name}")
        raise AttributeError(f"module 'pyrogen' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
