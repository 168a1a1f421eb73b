"""Open a folder of results: a run, several runs as in a comparison, or checkpoints of a loop of one's own."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyrogen.training.checkpoint as checkpoint
from pyrogen.data.dataset import Dataset, Description, Split
from pyrogen.data.datasets import names
from pyrogen.data.loading import load, load_rows
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError, DataError, RunError, unknown
from pyrogen.protocols import Stateful
from pyrogen.summary import html_table
from pyrogen.training.config import RunConfig
from pyrogen.training.device import pick_device
from pyrogen.training.resume import changed_since
from pyrogen.training.run import CONFIG, Run
from pyrogen.training.trainer import Trained, restored


class Opened:
    """An opened folder. What it does not hold raises ``RunError``, by name, when it is asked for.

    Model and step are restored when one of them is first asked for, and the data set is loaded when ``data`` is.

    Attributes:
        path: the folder.
        runs: the names of the runs in it; empty unless it is a folder of runs.
    """

    def __init__(self, folder: str | Path, data_root: str | Path | None, parts: Mapping[str, Stateful]) -> None:
        self.path, self._root, self._parts = Path(folder), data_root, dict(parts)
        try:
            self.runs = tuple(sorted(config.parent.name for config in self.path.glob(f"*/{CONFIG}")))
            alone = not self.runs and (self.path / CONFIG).is_file()
        except OSError as error:
            raise RunError(f"cannot open {str(self.path)[:200]}: {error.strerror}") from error
        self._own_run: Run[RunConfig] | None = Run.open(self.path) if alone else None
        if not (alone or self.runs or checkpoint.found(self.path)):
            raise RunError(f"{self.path} holds neither a run ({CONFIG}) nor checkpoints")
        if parts and self._own_run is not None:
            raise ConfigError(f"{self.path} is a run and names its model itself: open it without {', '.join(parts)}")
        self._t = checkpoint.restore(self.path, **parts) if parts else None

    def __getitem__(self, name: str) -> "Opened":
        """Open one of ``runs``."""
        if name not in self.runs:
            raise unknown(f"run of {self.path}", name, self.runs)
        return Opened(self.path / name, self._root, {})

    def __repr__(self) -> str:
        if self.runs:
            return f"<{self.path}: the runs {', '.join(self.runs)}>"
        try:
            t = f"t = {self.t}"
        except RunError:
            t = "no checkpoint"
        if self._own_run is None:
            return f"<{self.path}: checkpoints of a loop of one's own, {t}>"
        return f"<{self.path}: {self.config.model} on {self.config.data}, {t} of {self.config.options['steps']}>"

    def _repr_html_(self) -> str:
        if self._own_run is None:
            return html_table((repr(self),), [])
        last = self.metrics[-1] if self.metrics else {}
        values = [(name, f"{value:,.6g}") for name, value in last.items()]
        return html_table((repr(self), ""), [*self.config.options.items(), *values])

    @property
    def config(self) -> RunConfig:
        """The configuration."""
        return self._run.config

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The logged rows."""
        return self._run.metrics()

    @property
    def t(self) -> int:
        """The number of training steps of the restored state or, before it is restored, of the newest checkpoint."""
        trained: Trained | None = self.__dict__.get("_trained")
        if trained is not None:
            return trained.t
        return checkpoint.restore(self.path) if self._t is None else self._t

    @property
    def model(self) -> Any:
        """The model, with the weights that the run would end with."""
        return self._part("model")

    @property
    def step(self) -> Any:
        """The training step as it was at ``t``, from where ``fit(step, data.train, …, start=t)`` goes on.

        It trains a network of its own, and not ``model``.
        """
        return self._part("step")

    @property
    def weights(self) -> Mapping[str, Any]:
        """The ``step`` of the model's weights, and the ``rule`` by which they were taken."""
        return self._trained.weights

    @cached_property
    def description(self) -> Description:
        """What the data are without their rows: name, shape, space, classes and their frequencies, numbers of rows."""
        known = self._run.described_data()
        return self._trained.data.description if known is None else known[0]

    @property
    def space(self) -> Space:
        """The space of the data, by which samples are mapped to the user's units."""
        return self.description.space

    @property
    def without_rows(self) -> Dataset:
        """The data as the model takes them, without their rows."""
        return self.as_trained(Dataset.without_rows(self.description))

    @cached_property
    def data(self) -> Dataset:
        """The data set of the run, with the side information that the model takes.

        Raises:
            DataError: if it cannot be loaded, or is no longer that of the training.
        """
        config = self._config
        try:
            data = config.load_data()
        except DataError as error:
            text = f"the data of {self.path} cannot be loaded: {error}; other data can take their place (--data)"
            raise DataError(text) from error
        change = changed_since(config, data)
        if change is not None:
            raise DataError(
                f"{config.data} has changed since {self.path} was trained on it: {change}; it can be taken as other "
                "data (--data)"
            )
        return self.as_trained(data)

    def load(self, source: Any) -> Dataset:
        """Other data as the model takes them: in the coordinates, columns and classes of its own, split by its seed.

        Args:
            source: as for ``pyrogen.load``; columns are found by their names.

        Raises:
            DataError: if they lack a column or have another class, or other values.
            ConfigError: if they have another shape.
        """
        config, known = self._config, self.description
        options = {} if isinstance(source, str) and source in names() else config.read_options
        data = load(source, config.data_root, config.seed, space=known.space, classes=known.classes, **options)
        if data.shape != known.shape:
            raise ConfigError(f"the model was trained on {known.name!r}, {known.shape}; {data.name!r} is {data.shape}")
        return self.as_trained(data)

    def rows(self, source: Any = None) -> tuple[Split, tuple[str, ...]]:
        """All rows of other data in their own order, as the model takes them, and the names of their files.

        Args:
            source: as for ``load``; by default the test rows of the run's own data.

        Raises:
            DataError, ConfigError: as ``load``.
        """
        if source is None:
            return self.data.test, ()
        config, known = self._config, self.description
        options = {} if isinstance(source, str) and source in names() else config.read_options
        found, files = load_rows(
            source, config.data_root, config.seed, space=known.space, classes=known.classes, **options
        )
        if tuple(found.x.shape[1:]) != known.shape:
            raise ConfigError(f"the model was trained on {known.name!r}, {known.shape}; got {tuple(found.x.shape[1:])}")
        side_fn = self._trained.data.test.side_fn
        found = replace(found, side_fn=side_fn) if side_fn else found
        return found.to(pick_device(self.config.device)), files

    def as_trained(self, data: Dataset) -> Dataset:
        """The run's data set, loaded by somebody else, as the model takes it: with side information, on its device."""
        side_fn = self._trained.data.test.side_fn
        return (data.with_side_information(side_fn) if side_fn else data).to(pick_device(self.config.device))

    def _part(self, name: str) -> Any:
        return self._parts[name] if name in self._parts else getattr(self._trained, name)

    @property
    def _config(self) -> RunConfig:
        given = {} if self._root is None else {"data_root": str(self._root)}
        return self.config.model_copy(update=given)

    @cached_property
    def _trained(self) -> Trained:
        return restored(Run(self.path, self._config))

    @property
    def _run(self) -> Run[RunConfig]:
        if self._own_run is not None:
            return self._own_run
        if self.runs:
            raise RunError(
                f"{self.path} holds {len(self.runs)} runs: open one of them, such as {self.path / self.runs[0]}"
            )
        raise RunError(
            f"{self.path} holds checkpoints of a loop of your own, which name neither the model nor the data: "
            f"give what they hold, as in pyrogen.open({str(self.path)!r}, model=…, step=…)"
        )


def open(folder: str | Path, *, data_root: str | Path | None = None, **parts: Stateful) -> Opened:
    """Open a folder of results: ``open("runs/vae").model``.

    Args:
        folder: a run folder; a folder of runs, such as that of a comparison, ``open("runs/four")["vae"]``; or a folder
            of checkpoints that ``save`` wrote in a loop of one's own.
        data_root: where named data sets are kept, in place of the run's own folder.
        parts: for a loop of one's own, what its checkpoints hold, by name: they are restored.

    Raises:
        RunError: if the folder holds neither a run nor checkpoints.
        ConfigError: if its configuration has a fault.
    """
    return Opened(folder, data_root, parts)
