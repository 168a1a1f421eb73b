"""The configuration of a comparison, checked before training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pyrogen.data.dataset import Dataset
from pyrogen.data.loading import load
from pyrogen.data.sources.snapshot import snapshot
from pyrogen.files import clear_parts
from pyrogen.measure.features import check_spaces, default_spaces
from pyrogen.recipes.options import BatchSize, Count, Steps
from pyrogen.training.config import Config, RunConfig, configure
from pyrogen.training.run import CONFIG, LOCK, Run, free_path
from pyrogen.training.trainer import build

MEMORY = "memory"
"""What stands for data in memory before they are stored."""
DEFAULT_MODELS = ("gaussian", "vae", "cvae", "gan", "dcgan", "wgan")


class ComparisonConfig(Config):
    """Everything needed to repeat a comparison.

    Args:
        models: names of recipes.
        steps: optimiser steps of each model.
        batch_size: rows per batch.
        seeds: number of training runs per model, each with another seed and its split of the data.
        own: names of the user's own trained models.
        features: names of feature spaces in which samples are compared with the data; by default ``values``, and
            ``classifier`` for labelled images.
    """

    models: Annotated[tuple[str, ...], Field(description="names of models")] = DEFAULT_MODELS
    steps: Annotated[Steps, Field(description="optimiser steps of each model")] = 3000
    batch_size: BatchSize = 128
    seeds: Annotated[Count, Field(description="training runs per model")] = 1
    own: Annotated[tuple[str, ...], Field(description="names of the user's own models")] = ()
    features: Annotated[tuple[str, ...] | None, Field(description="names of feature spaces")] = None

    def run_config(self, name: str, seed: int) -> RunConfig:
        """The configuration of one training run."""
        options = {"steps": self.steps, "batch_size": self.batch_size}
        settings = {"data_root": self.data_root, "seed": seed, "device": self.device, **self.read_options}
        return configure(name, self.data, **settings, options=options)

    def spaces(self, data: Dataset) -> tuple[str, ...]:
        """The feature spaces in which samples are compared with ``data``."""
        return default_spaces(data) if self.features is None else self.features

    @property
    def all_seeds(self) -> range:
        """The seeds of the training runs."""
        return range(self.seed, self.seed + self.seeds)


def prepare(
    models: Sequence[str] | None = None,
    data: Any = "digits",
    *,
    out: str | Path | None = None,
    own: Sequence[str] = (),
    **settings: Any,
) -> Run[ComparisonConfig]:
    """Check the configuration of a comparison and create its folder, without training.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default.
        data: the name or path of a data set, or data in memory as for ``load``, which are stored in the folder.
        out: the folder for ``report.html``, ``scores.json`` and the run folders of the models; by default an unused
            name under ``runs``.
        own: the names of the trained models that are passed to ``run_comparison``.
        settings: the other fields of ``ComparisonConfig``: ``steps``, ``batch_size``, ``seeds``, ``features``,
            ``seed``, ``data_root``, ``device``, and the options of reading ``target``, ``categorical``,
            ``drop_constant``, ``drop_missing`` and ``size``.

    Raises:
        UserError: if a setting, a model or the data are invalid.
    """
    given: Mapping[str, Any] = {
        "models": list(dict.fromkeys(DEFAULT_MODELS if models is None else models)),
        "data": data if isinstance(data, str | Path) else MEMORY,
        "own": list(own),
        **settings,
    }
    config = ComparisonConfig.checked(given).with_absolute_paths()
    stored = None if isinstance(data, str | Path) else snapshot(data)
    source = config.data if stored is None else stored.source
    loaded = load(source, config.data_root, config.seed, **config.read_options)
    if settings.get("batch_size") is None:
        config = config.model_copy(update={"batch_size": min(config.batch_size, len(loaded.train))})
    check_spaces(config.spaces(loaded), loaded)
    for name in config.models:
        build(config.run_config(name, config.seed), loaded)  # raise errors of any model before training
    default = Path("runs") / f"compare-{Path(config.data).stem}"
    path = Path(out) if out is not None else free_path(default)
    if stored is None:
        return Run.create(path, config)
    file = (path / stored.file_name).absolute()
    _clear_half_made(path, file)
    run = Run.create(path, config.model_copy(update={"data": str(file)}))
    stored.save(file)
    return run


def _clear_half_made(path: Path, file: Path) -> None:
    """Remove the configuration of a comparison in ``path`` that was stopped before it had stored its data."""
    if not (path / CONFIG).exists() or file.exists():
        return
    clear_parts(path, file.name)
    names = {entry.name for entry in path.iterdir()}
    if names <= {CONFIG, LOCK} and Path(ComparisonConfig.read(path / CONFIG).data).name == file.name:
        (path / CONFIG).unlink()
