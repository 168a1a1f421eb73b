"""The configuration of a run: one typed, checked object, written to and read from TOML with a version."""

import os
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from pyrogen.data.checks import check_batch_size
from pyrogen.data.dataset import Dataset, Description
from pyrogen.data.datasets import names
from pyrogen.data.loading import load
from pyrogen.data.table import ReadOptions
from pyrogen.errors import ConfigError, DataWarning, RunError
from pyrogen.files import SEAL, read_regular, seal_lines, unseal_lines
from pyrogen.recipes import recipe
from pyrogen.recipes.options import faults
from pyrogen.training.device import pick_device

VERSION = 2
"""The version of the form of ``config.toml``: the last line of version 2 is a checksum, which version 1 has not."""
Seconds = Annotated[float, Field(gt=0, le=1e9)]
LONG = 4000
"""Runs of at least as many steps are compiled by default: in shorter ones the compiler takes longer than it saves."""


class Config(BaseModel):
    """What every configuration shares: it is frozen, refuses unknown keys, and knows its version.

    Raises:
        ConfigError: naming every fault at once, when made by ``checked`` or ``read``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: Annotated[int, Field(ge=1, le=VERSION, description="version of the form of this file")] = VERSION
    data: Annotated[str, Field(description="name of a data set, or a path")] = "digits"
    data_root: Annotated[str | None, Field(description="where named data sets are kept")] = None
    seed: Annotated[int, Field(ge=0, lt=2**63, description="the seed from which every random stream is derived")] = 0
    device: Annotated[str, Field(description="`auto`, `cpu`, `cuda` or `gpu`")] = "auto"
    target: Annotated[str | None, Field(description="column of a table that holds the labels")] = None
    categorical: Annotated[tuple[str, ...], Field(description="columns of numbers that are categories")] = ()
    drop_constant: Annotated[bool, Field(description="leave constant columns out")] = False
    drop_missing: Annotated[bool, Field(description="leave rows with missing values out")] = False
    size: Annotated[int | None, Field(gt=0, le=8192, description="resize image files to this height and width")] = None
    fingerprint: Annotated[str | None, Field(description="of the rows and their split, when training began")] = None

    @property
    def read_options(self) -> dict[str, Any]:
        """The options of ``load`` for a user's own data."""
        return {field.name: getattr(self, field.name) for field in fields(ReadOptions)}

    def load_data(self, seed: int | None = None, like: Description | None = None) -> Dataset:
        """The data set of this configuration.

        Args:
            seed: of the split; by default its own.
            like: the data that a model was trained on, in whose coordinates and classes these are read.
        """
        known: dict[str, Any] = {} if like is None else {"space": like.space, "classes": like.classes}
        return load(self.data, self.data_root, self.seed if seed is None else seed, **known, **self.read_options)

    def with_absolute_paths(self) -> Self:
        """The same configuration for any working directory."""
        is_path = self.data not in names() and Path(self.data).expanduser().exists()
        return self.model_copy(
            update={"data": _absolute(self.data) if is_path else self.data, "data_root": _absolute(self.data_root)}
        )

    @field_validator("data", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("version")
    @classmethod
    def _current(cls, value: int) -> int:
        return VERSION  # what is written has the present form, whatever was read

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        pick_device(value)
        return value

    @classmethod
    def checked(cls, given: Mapping[str, Any], what: str = "setting") -> Self:
        """The configuration of ``given`` settings; raises ``ConfigError`` naming every fault."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigError("; ".join(faults(error, what, cls.model_fields))) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The configuration in the file that a run was made with.

        Raises:
            ConfigError: if a key or a value is not one of this configuration; all faults are named.
            RunError: if the file cannot be read, is damaged or was edited, or is of a newer version.
        """
        return cls.checked(read_toml(path, sealed=True), f"key of {path.name}")

    def to_toml(self) -> str:
        """The file's text and its checksum, without what is ``None`` and options of reading that are not used."""
        unused = {name for name, value in self.read_options.items() if not value}
        return seal_lines(tomli_w.dumps(self.model_dump(exclude_none=True, exclude=unused)))


class RunConfig(Config):
    """All that is needed to repeat a run.

    Args:
        model: the name of a recipe.
        precision: ``32``; ``bf16`` for networks in mixed precision; or ``tf32`` (GPU) or ``bf16-products`` (CPU) for
            float32 with products of rounded factors.
        weights_from: the run folder whose weights training starts from, those that it ended with; by default they are
            drawn by ``seed``.
        compile: whether loss and gradients are compiled; by default in runs of at least ``LONG`` steps, and in runs of
            a given time from step 2000 on.
        options: every option of the recipe; those that are not given have their defaults.
        seconds: the time of training after which the run ends, in place of a number of steps: without compilation,
            validation, pictures and checkpoints. ``steps`` is then the number for which schedules are planned at
            present, and in the end that of the steps taken.
        patience: how many validation losses in a row may fail to improve on the lowest before the run ends; by default
            it goes on to its last step. ``steps`` is in the end the number of steps taken.
    """

    model: Annotated[str, Field(description="name of a model")]
    precision: Annotated[
        Literal["32", "bf16", "tf32", "bf16-products"],
        Field(description="`32`, `bf16` for mixed precision, or `tf32` or `bf16-products` for rounded products"),
    ] = "32"
    weights_from: Annotated[str | None, Field(description="run folder whose weights training starts from")] = None
    options: Annotated[dict[str, Any], Field(validate_default=True, description="options of the model")] = {}
    seconds: Annotated[Seconds | None, Field(description="time of training after which the run ends")] = None
    patience: Annotated[int | None, Field(gt=0, le=10**6, description="validation losses that may not improve")] = None
    compile: Annotated[bool | None, Field(validate_default=True, description="compile loss and gradients")] = None

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        return recipe(value).name

    @field_validator("options")
    @classmethod
    def _bound(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return recipe(info.data["model"]).bind(value) if "model" in info.data else value

    @field_validator("compile")
    @classmethod
    def _compiled(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        steps = info.data.get("options", {}).get("steps", 0)
        # How many steps there will be in a given time is not known: compilation begins after some of them.
        return steps >= LONG if value is None and info.data.get("seconds") is None else value

    def with_steps(self, steps: int) -> Self:
        """The configuration with another number of steps; raises ``ConfigError`` unless it is positive."""
        return self.checked(self.model_dump() | {"options": self.options | {"steps": steps}, "seconds": None})

    def check_batch(self, data: Dataset) -> None:
        """Refuse a batch size above the number of rows; warn if it is the recipe's own, which is then reduced."""
        wanted, n = self.options["batch_size"], len(data.train)
        if wanted != recipe(self.model).bind({})["batch_size"]:
            check_batch_size(n, wanted)
        elif n < wanted:
            text = f"{data.name}: a batch has all {n} training rows, as they are fewer than {wanted}"
            warnings.warn(text, DataWarning, stacklevel=3)

    def planned(self, steps: int) -> Self:
        """The same run, of a given time, with its schedules planned for another number of steps."""
        return self.model_copy(update={"options": self.options | {"steps": steps}})

    def with_absolute_paths(self) -> Self:
        """The same configuration for any working directory."""
        return super().with_absolute_paths().model_copy(update={"weights_from": _absolute(self.weights_from)})


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(Path(path).expanduser())


def configure(model: str, data: str = "digits", **settings: Any) -> RunConfig:
    """The whole configuration of a run, checked, with every option of the recipe in it.

    Args:
        model: the name of a recipe.
        data: the name or path of a data set.
        settings: the other fields of ``RunConfig``.

    Raises:
        ConfigError: naming every fault.
    """
    return RunConfig.checked({"model": model, "data": data, **settings})


def read_toml(path: Path, sealed: bool = False) -> dict[str, Any]:
    """A TOML file as a mapping; ``data`` that begins with ``./`` or ``../`` is a path relative to it, if it is there.

    Args:
        path: the file.
        sealed: whether it must have its checksum, as the configuration of a run has from version 2 on; a copy that
            a user has edited does not.

    Raises:
        RunError: if it cannot be read, has another checksum, or is of a newer version.
    """
    content = read_regular(path)
    try:
        text = content.decode()
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"cannot read {path}: {error or 'nested too deeply'}") from error
    whole, version = unseal_lines(text) is not None, values.get("version")
    if isinstance(version, int) and version > VERSION and (whole or not sealed or SEAL not in text):
        raise RunError(f"{path} is of version {version}; this pyrogen reads up to {VERSION}")
    if sealed and not whole and version != 1:
        again = "`pyrogen compare`" if "models" in values else "`pyrogen train --config COPY`"
        raise RunError(
            f"{path} is damaged or was edited: the checksum in its last line is missing or another; the settings of a "
            f"run are fixed, and others need a new one by {again}"
        )
    data = values.get("data")
    if isinstance(data, str) and data.startswith(("./", "../")) and (path.parent / data).exists():
        values["data"] = os.path.abspath(path.parent / data)
    return values
