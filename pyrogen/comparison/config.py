"""The configuration of a comparison, checked before training."""

from collections.abc import Mapping, Sequence
from math import ceil, prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from pyrogen.comparison.models import ModelSpec, check_run, read_spec, read_specs
from pyrogen.data.dataset import Dataset
from pyrogen.data.sources.snapshot import load_named, named
from pyrogen.errors import ConfigError
from pyrogen.measure.annealing import Annealing
from pyrogen.measure.features import check_spaces, default_spaces
from pyrogen.recipes import recipe
from pyrogen.recipes.options import BatchSize, Count, Steps
from pyrogen.training.config import Config, RunConfig, Seconds, configure
from pyrogen.training.run import Run, free_path
from pyrogen.training.trainer import build

DEFAULT_MODELS = ("gaussian", "vae", "cvae", "gan", "dcgan", "wgan")
DEFAULT_STEPS = 3000
MOST_EXAMPLES = 10**12
FEW_VALUES = 100
"""The most values of a datum for which annealed importance sampling is the default."""
AIS_MINUTES = 10.0
"""The time of annealed importance sampling of a model where it is asked for."""
QUICK = Annealing(minutes=0.4, n=200, chains=8, simulated=30)
"""The settings of annealed importance sampling by default."""


class ComparisonConfig(Config):
    """Everything needed to repeat a comparison.

    The budget of each model is one of ``steps``, ``seconds`` and ``examples``; by default ``DEFAULT_STEPS``.

    Args:
        models: recipes with settings, and absolute paths of run folders.
        seconds: the time for which each model is trained, without compilation, validation, pictures and checkpoints.
        examples: the number of rows that each model is trained on, repeated ones counted: its steps times the size of
            its batches, rounded up to whole batches.
        steps: optimiser steps of each model.
        batch_size: rows per batch of models without a setting of their own.
        seeds: number of training runs per model, each with another seed and its split of the data.
        own: names of the user's own trained models.
        features: names of feature spaces in which samples are compared with the data; by default ``values``, and
            ``classifier`` for labelled images.
        ais: whether likelihoods of models with a decoder are bounded by annealed importance sampling; by default of
            densities over at most ``FEW_VALUES`` values, where it takes less than a minute a model.
    """

    models: Annotated[tuple[str, ...], Field(description="recipes with settings, and run folders")] = DEFAULT_MODELS
    seconds: Annotated[Seconds | None, Field(description="seconds of training of each model")] = None
    examples: Annotated[int | None, Field(gt=0, le=MOST_EXAMPLES, description="rows each model is trained on")] = None
    steps: Annotated[Steps | None, Field(validate_default=True, description="optimiser steps of each model")] = None
    batch_size: BatchSize = 128
    seeds: Annotated[Count, Field(description="training runs per model")] = 1
    own: Annotated[tuple[str, ...], Field(description="names of the user's own models")] = ()
    features: Annotated[tuple[str, ...] | None, Field(description="names of feature spaces")] = None
    ais: Annotated[bool | None, Field(description="likelihoods by annealed importance sampling")] = None

    @field_validator("models")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(spec.given for spec in read_specs(value))

    @field_validator("steps")
    @classmethod
    def _one_budget(cls, value: int | None, info: ValidationInfo) -> int | None:
        budget = {"steps": value, **{name: info.data.get(name) for name in ("seconds", "examples")}}
        given = [f"{name}={amount}" for name, amount in budget.items() if amount is not None]
        if len(given) > 1:
            raise ConfigError(f"the budget is one of steps, seconds and examples; got {' and '.join(given)}")
        return value if given else DEFAULT_STEPS

    @property
    def budget(self) -> dict[str, int | float]:
        """The budget of each model that is trained: ``steps``, ``seconds`` or ``examples``."""
        budget = {"steps": self.steps, "seconds": self.seconds, "examples": self.examples}
        return {name: amount for name, amount in budget.items() if amount is not None}

    @property
    def plan(self) -> str:
        """What will be done, in one line."""
        names = [*self.own, *(spec.name for spec in self.specs)]
        each = ", ".join(f"{amount:,g} {name}" for name, amount in self.budget.items())
        seeds = f" and {self.seeds} seeds" if self.seeds > 1 else ""
        return f"{len(names)} models on {self.data}, {each}{seeds} each: {', '.join(names)}"

    @property
    def specs(self) -> list[ModelSpec]:
        """The models, with names that differ."""
        return read_specs(self.models)

    def run_config(self, spec: ModelSpec, seed: int) -> RunConfig:
        """The configuration of one training run of a recipe."""
        assert spec.recipe is not None
        options: dict[str, Any] = {"batch_size": self.batch_size, **spec.options}
        if self.seconds is None:
            batch_size = recipe(spec.recipe).bind(options)["batch_size"]
            options["steps"] = self.steps or ceil((self.examples or 0) / batch_size)
        settings = {"data_root": self.data_root, "seed": seed, "device": self.device, **self.read_options}
        return configure(spec.recipe, self.data, **settings, options=options, seconds=self.seconds)

    def spaces(self, data: Dataset) -> tuple[str, ...]:
        """The feature spaces in which samples are compared with ``data``."""
        return default_spaces(data) if self.features is None else self.features

    def annealing(self, data: Dataset) -> Annealing | None:
        """The settings of annealed importance sampling on ``data``; ``None`` for none."""
        few = data.space.probability == "density" and prod(data.shape) <= FEW_VALUES
        if not (few if self.ais is None else self.ais):
            return None
        return Annealing(minutes=AIS_MINUTES) if self.ais else QUICK

    @property
    def all_seeds(self) -> range:
        """The seeds of the training runs."""
        return range(self.seed, self.seed + self.seeds)


def prepare(
    models: Sequence[str | Path] | None = None,
    data: Any = None,
    *,
    out: str | Path | None = None,
    own: Sequence[str] = (),
    **settings: Any,
) -> Run[ComparisonConfig]:
    """Check the configuration of a comparison and create its folder, without training.

    Args:
        models: recipes with settings, such as ``"vae"`` and ``"vae:latent=8:hidden=64,32"``, and run folders;
            ``DEFAULT_MODELS`` by default.
        data: the name or path of a data set, or data in memory as for ``load``, which are stored in the folder; by
            default those of the first run folder, with its seed, or ``digits``.
        out: the folder for ``report.html``, ``scores.json`` and the run folders of the models; by default an unused
            name under ``runs``.
        own: the names of the trained models that are passed to ``run_comparison``.
        settings: the other fields of ``ComparisonConfig``: ``steps``, ``seconds`` or ``examples``, ``batch_size``,
            ``seeds``, ``features``, ``ais``, ``seed``, ``data_root``, ``device``, and the options of reading
            ``target``, ``categorical``, ``drop_constant``, ``drop_missing`` and ``size``.

    Raises:
        UserError: if a setting, a model or the data are invalid, or a run folder is not of these data.
    """
    written = [str(m.absolute()) if isinstance(m, Path) else m for m in (DEFAULT_MODELS if models is None else models)]
    named_data, stored = (_data_of_run(written), None) if data is None else named(data)
    given: Mapping[str, Any] = {
        "models": written,
        "own": list(own),
        **named_data,
        **{name: value for name, value in settings.items() if value is not None},
    }
    config = ComparisonConfig.checked(given).with_absolute_paths()
    loaded = load_named(config, stored, data)
    if settings.get("batch_size") is None:
        config = config.model_copy(update={"batch_size": min(config.batch_size, len(loaded.train))})
    _check(config, loaded)
    default = Path("runs") / f"compare-{Path(config.data).stem}"
    return Run.create(out if out is not None else free_path(default), config, stored)


def _data_of_run(models: Sequence[str]) -> dict[str, Any]:
    """Where the first run folder has its data, how they are read, and its seed; nothing if there is none."""
    run = next((spec.opened.config for spec in map(read_spec, models) if spec.recipe is None), None)
    if run is None:
        return {}
    return {"data": run.data, "data_root": run.data_root, "seed": run.seed, **run.read_options}


def _check(config: ComparisonConfig, data: Dataset) -> None:
    """Raise errors of any model before training."""
    check_spaces(config.spaces(data), data)
    for spec in config.specs:
        if spec.name in config.own:
            raise ConfigError(f"own model {spec.name!r} has the name of another model: rename it")
        if spec.recipe is not None:
            build(config.run_config(spec, config.seed), data)
        elif config.seeds > 1:
            raise ConfigError(
                f"{spec.given} is one run, of one seed: expected seeds=1 with run folders, got {config.seeds}"
            )
        else:
            check_run(spec, data)
