"""Deep generative models on Pyro: write them, train them, compare explicit with implicit densities.

A model samples, a step learns, a loop repeats, a measure judges. Importing changes no global setting of torch
or Pyro.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrogen import data, explicit, implicit, nn, testing
    from pyrogen.comparing import compare
    from pyrogen.data.datasets import load
    from pyrogen.infer.adversarial import AdversarialGame
    from pyrogen.infer.svi import SVI
    from pyrogen.measure.evaluate import evaluate
    from pyrogen.protocols import Density, Implicit, LatentVariable, Pair, Sampler, Score, Step
    from pyrogen.train.checkpoint import load as restore
    from pyrogen.train.checkpoint import save
    from pyrogen.train.loop import EarlyStopping, fit

__version__ = "0.1.0"
__all__ = [
    "SVI",
    "AdversarialGame",
    "Density",
    "EarlyStopping",
    "Implicit",
    "LatentVariable",
    "Pair",
    "Sampler",
    "Score",
    "Step",
    "compare",
    "data",
    "evaluate",
    "explicit",
    "fit",
    "implicit",
    "load",
    "nn",
    "restore",
    "save",
    "testing",
]

_HOMES = {
    "AdversarialGame": "infer.adversarial",
    "EarlyStopping": "train.loop",
    "SVI": "infer.svi",
    "compare": "comparing",
    "evaluate": "measure.evaluate",
    "fit": "train.loop",
    "load": "data.datasets",
    "save": "train.checkpoint",
}
_HOMES |= dict.fromkeys(("Density", "Implicit", "LatentVariable", "Pair", "Sampler", "Score", "Step"), "protocols")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, and ``pyrogen --help`` none."""
    if name == "restore":
        return import_module("pyrogen.train.checkpoint").load
    if name in _HOMES:
        return getattr(import_module(f"pyrogen.{_HOMES[name]}"), name)
    if name in ("data", "explicit", "implicit", "nn", "testing"):
        return import_module(f"pyrogen.{name}")
    raise AttributeError(f"module 'pyrogen' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
