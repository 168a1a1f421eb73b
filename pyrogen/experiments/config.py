"""The configuration of an experiment, checked before training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from pyrogen.errors import ConfigError
from pyrogen.experiments.registry import Arm, experiment_called
from pyrogen.recipes.options import Count
from pyrogen.training.config import Config, RunConfig, configure
from pyrogen.training.run import Run, free_path
from pyrogen.training.trainer import build


class ExperimentConfig(Config):
    """Everything needed to repeat an experiment.

    Args:
        experiment: its name.
        seeds: number of training runs per model, each with another seed and its split of the data.
        options: every option of the experiment; those that are not given have their defaults.
    """

    experiment: Annotated[str, Field(description="name of an experiment")]
    seeds: Annotated[Count, Field(description="training runs per model")] = 5
    options: Annotated[
        dict[str, Any], Field(default_factory=dict, validate_default=True, description="options of the experiment")
    ]

    @field_validator("experiment")
    @classmethod
    def _known(cls, value: str) -> str:
        return experiment_called(value).name

    @field_validator("options")
    @classmethod
    def _bound(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        known = "experiment" in info.data
        return experiment_called(info.data["experiment"]).bind(value) if known else value

    def run_config(self, arm: Arm, seed: int) -> RunConfig:
        """The configuration of one training run; none is compiled, so that times compare at any number of steps."""
        settings = {"data_root": self.data_root, "seed": seed, "device": self.device, **self.read_options}
        return configure(arm.recipe, self.data, **settings, compile=False, options=dict(arm.options))

    @property
    def all_seeds(self) -> range:
        """The seeds of the training runs."""
        return range(self.seed, self.seed + self.seeds)


def prepare(
    name: str, data: str | Path | None = None, *, out: str | Path | None = None, **settings: Any
) -> Run[ExperimentConfig]:
    """Check the configuration of an experiment and create its folder, without training.

    Args:
        name: the name of the experiment.
        data: the name or path of a data set; by default that of the experiment.
        out: the folder of the results and the run folders of all models; by default an unused name under ``runs``.
        settings: the other fields of ``ExperimentConfig``, ``seeds``, ``seed``, ``device``, …, and the experiment's
            own options.

    Raises:
        UserError: if a setting, an option or the data are invalid.
    """
    fields = set(ExperimentConfig.model_fields) - {"options"}
    given: Mapping[str, Any] = {
        "experiment": name,
        "data": experiment_called(name).example if data is None else data,
        "options": {key: value for key, value in settings.items() if key not in fields},
        **{key: value for key, value in settings.items() if key in fields},
    }
    config = ExperimentConfig.checked(given).with_absolute_paths()
    loaded = config.load_data()
    for arm in experiment_called(name)(loaded, **config.options).arms:
        if arm.rows is not None and arm.rows > len(loaded.train):
            raise ConfigError(f"{arm.name} needs {arm.rows:,} training data; {loaded.name!r} has {len(loaded.train):,}")
        build(config.run_config(arm, config.seed), loaded)  # raise errors of any model before training
    return Run.create(out or free_path(Path("runs") / f"{name}-{Path(config.data).stem}"), config)
