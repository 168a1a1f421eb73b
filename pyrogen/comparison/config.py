"""The configuration of a comparison, and its preparation: checked before anything is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from pyrogen.data.datasets import load
from pyrogen.training.config import Config, RunConfig, configure
from pyrogen.training.run import Run, free_path
from pyrogen.training.trainer import build

DEFAULT_MODELS = ("gaussian", "vae", "cvae", "gan", "dcgan", "wgan")


class ComparisonConfig(Config):
    """All that is needed to repeat a comparison.

    Args:
        models: names of recipes.
        steps: optimiser steps of each model.
        batch_size: rows of each step.
        seeds: how many times each model is trained, each time on the split of another seed.
        own: names of the user's own trained models.
    """

    models: Annotated[tuple[str, ...], Field(description="names of models")] = DEFAULT_MODELS
    steps: Annotated[PositiveInt, Field(description="optimiser steps of each model")] = 3000
    batch_size: Annotated[PositiveInt, Field(description="rows of each step")] = 128
    seeds: Annotated[PositiveInt, Field(description="trainings of each model")] = 1
    own: Annotated[tuple[str, ...], Field(description="names of the user's own models")] = ()

    def run_config(self, name: str, seed: int) -> RunConfig:
        """The configuration of one training."""
        options = {"steps": self.steps, "batch_size": self.batch_size}
        return configure(name, self.data, data_root=self.data_root, seed=seed, device=self.device, options=options)

    @property
    def all_seeds(self) -> range:
        """The seed of each training."""
        return range(self.seed, self.seed + self.seeds)


def prepare(
    models: Sequence[str] | None = None,
    data: str | Path = "digits",
    *,
    out: str | Path | None = None,
    own: Sequence[str] = (),
    **settings: Any,
) -> Run[ComparisonConfig]:
    """Check a request for a comparison and make its folder; nothing is trained.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default.
        data: the name or path of a data set.
        out: the folder for ``report.html``, ``scores.json`` and one run folder for each training; a free one under
            ``runs`` by default.
        own: the names of trained models that ``run_comparison`` will be given.
        settings: the other fields of ``ComparisonConfig``: ``steps``, ``batch_size``, ``seeds``, ``seed``,
            ``data_root``, ``device``.

    Raises:
        UserError: if a setting, a model or the data cannot be used.
    """
    given: Mapping[str, Any] = {
        "models": list(dict.fromkeys(DEFAULT_MODELS if models is None else models)),
        "data": data,
        "own": list(own),
        **settings,
    }
    config = ComparisonConfig.checked(given)
    load(config.data, config.data_root, config.seed)
    for name in config.models:
        build(config.run_config(name, config.seed))  # a mistake in the last model must not cost the time of the first
    default = Path("runs") / f"compare-{Path(config.data).stem}"
    return Run.create(out if out is not None else free_path(default), config)
