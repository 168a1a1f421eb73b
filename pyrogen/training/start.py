"""Start a run of a recipe on data by name or in memory, and open it when it is trained."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyrogen.data.sources.snapshot import load_named, named
from pyrogen.errors import ConfigError
from pyrogen.recipes import TrainingSetup
from pyrogen.training.config import RunConfig, configure
from pyrogen.training.monitoring.display import Display, Watcher
from pyrogen.training.monitoring.logs import Log, check_log, logged
from pyrogen.training.opened import Opened, open
from pyrogen.training.resume import load_weights
from pyrogen.training.run import CONFIG, Run, free_path
from pyrogen.training.trainer import build
from pyrogen.training.trainer import train as train_run


def train(
    model: str,
    data: Any = "digits",
    *,
    out: str | Path | None = None,
    progress: bool = False,
    log: Log | None = None,
    **settings: Any,
) -> Opened:
    """Train a recipe in a new run folder, and open it: ``train("vae", data, latent=8).model``.

    Args:
        model: the name of a recipe.
        data: the name or path of a data set; a ``Dataset`` of ``load``, which the run loads again by its source, seed
            and options; or data in memory as for ``load``, which are stored in the folder.
        out: the run folder; by default an unused name under ``runs``.
        progress: whether progress is shown: a line on a terminal, a display in a notebook.
        log: where rows go besides ``metrics.jsonl``: ``"tensorboard"``, ``"mlflow"``, or a function that is called with
            each, and whose method ``picture(path, t)``, if it has one, with each picture.
        settings: the options of the recipe, such as ``latent``, ``steps``, ``batch_size`` and ``lr``, and the fields of
            ``RunConfig``, such as ``seed``, ``device``, ``patience`` and ``weights_from``.

    Raises:
        UserError: before training starts, if a setting or the data are invalid; as for ``pyrogen.training.train``.
    """
    check_log(log)
    where, _ = named(data)
    fields = RunConfig.model_fields.keys() - {"options"}
    options = {name: value for name, value in settings.items() if name not in fields}
    given = {"model": model, **where, **{name: value for name, value in settings.items() if name in fields}}
    run, setup = start(RunConfig.checked({**given, "options": options}), out, data)
    with announced(run, Display() if progress else None) as watch, logged(run, watch, log) as watchers:
        train_run(run, watchers, setup)
    return open(run.path)


@contextmanager
def announced(run: Run[RunConfig], display: Display | None, steps: int | None = None) -> Iterator[Watcher | None]:
    """Say what will be trained and where; yield what shows it.

    Args:
        run: the run.
        display: where; ``None`` to say nothing.
        steps: the number of its last step, if that is another than the configuration has.
    """
    if display is None:
        yield None
        return
    config, title = run.config, f"{run.config.model} on {run.config.data}"
    total = steps or (config.options["steps"] if config.seconds is None else 0)
    display.say(f"{title}: {f'{total:,} steps' if total else f'{config.seconds:g} seconds'} → {run.path}")
    with display(title, total) as watch:
        yield watch


def start(config: RunConfig, out: str | Path | None = None, data: Any = None) -> tuple[Run[RunConfig], TrainingSetup]:
    """Make a run folder, when all that could be refused was looked at, and build what it trains.

    Args:
        config: its configuration.
        out: the folder; by default an unused name under ``runs``.
        data: the data that ``config`` names, where they are a ``Dataset`` or in memory; else loaded by their name.

    Raises:
        UserError: if the data, an option or the folder cannot be used.
    """
    _, stored = named(config.data if data is None else data)
    setup = build(config, load_named(config, stored, data))
    if config.weights_from is not None:
        load_weights(config.weights_from, setup)
    default = Path("runs") / f"{config.model}-{Path(config.data).stem}"
    return Run.create(out or free_path(default), config, stored), setup


def _all_options(config: RunConfig) -> Mapping[str, Any]:
    """What a run of this configuration trains, without what differs when it has ended."""
    options = config.options if config.seconds is None else config.planned(0).options
    return {**config.model_dump(exclude={"options", "fingerprint"}), **options}


def open_or_train(folder: str | Path, model: str, data: str = "digits", **settings: Any) -> Opened:
    """Open a run folder after training the recipe there as far as it is not trained yet.

    A script that calls this can be stopped at any time and run again: training goes on where it was.

    Args:
        folder: the run folder; it is made if there is none.
        model: the name of a recipe.
        data: the name or path of a data set.
        settings: the other fields of ``RunConfig``, such as ``options={"steps": 1000, "latent": 10}``.

    Raises:
        ConfigError: naming every fault; or if the folder holds a run of another configuration.
        RunError: if it cannot be read or written.
    """
    config = configure(model, data, **settings).with_absolute_paths()
    path = Path(folder)
    run = Run.open(path) if os.path.isfile(path / CONFIG) else Run.create(path, config)
    then, now = _all_options(run.config), _all_options(config)
    if then != now:
        differ = [
            f"{name} {then.get(name)!r} then, {now.get(name)!r} now" for name in now if then.get(name) != now[name]
        ]
        raise ConfigError(f"{path} holds a run of another configuration: {', '.join(differ)}")
    train_run(run)
    return open(path)
