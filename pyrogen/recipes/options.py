"""A function's signature is its configuration: options by name, read from text or TOML."""

import inspect
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pyrogen.errors import ConfigError, unknown


def options_of(recipe: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of ``recipe`` with their defaults."""
    parameters = inspect.signature(recipe).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def bind(recipe: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of ``recipe``: the defaults, with what was given in their place and of their type.

    Args:
        recipe: a function whose keyword-only parameters are annotated.
        given: values by name, as text (``"128,64"``) or as TOML has them.

    Raises:
        ConfigError: for a name that is none of its parameters (the nearest is named), or a value of another type.
    """
    options, hints = options_of(recipe), get_type_hints(recipe)
    for name, value in given.items():
        if name not in options:
            raise unknown(f"option of {recipe.__name__}", name, options)
        options[name] = convert(name, value, hints[name])
    return options


def parse_pairs(pairs: list[str]) -> dict[str, str]:
    """``["latent=10", …]`` as a mapping.

    Raises:
        ConfigError: for a text without ``=``.
    """
    split = [pair.partition("=") for pair in pairs]
    for key, equals, value in split:
        if not (key and equals and value):
            raise ConfigError(f"--set wants KEY=VALUE; got {key + equals + value!r}")
    return {key.strip().replace("-", "_"): value.strip() for key, _, value in split}


def read_config(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """A TOML file as a mapping with some of ``keys``.

    Raises:
        ConfigError: if it cannot be read, or has another key (the nearest is named).
    """
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read --config {path}: {error}") from error
    for key in config:
        if key not in keys:
            raise unknown(f"key of {path.name}", key, keys)
    return config


def convert(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type ``hint``: int, float, bool, str, a tuple of one of them, or a union in order.

    Raises:
        ConfigError: if it cannot be read as that type; the message names both.
    """
    if isinstance(hint, UnionType):
        for option in get_args(hint):
            try:
                return convert(name, value, option)
            except ConfigError:
                continue
        raise _mistyped(name, value, hint)
    if get_origin(hint) is tuple:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        return tuple(convert(name, item, get_args(hint)[0]) for item in items)
    if hint is bool:
        known = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
        if str(value).lower() not in known:
            raise _mistyped(name, value, hint)
        return known[str(value).lower()]
    if hint is int and isinstance(value, float) and value != int(value):
        raise _mistyped(name, value, hint)
    try:
        return hint(value)
    except (TypeError, ValueError):
        raise _mistyped(name, value, hint) from None


def _mistyped(name: str, value: Any, hint: Any) -> ConfigError:
    return ConfigError(f"option {name} wants {getattr(hint, '__name__', hint)}; got {value!r}")
