"""The options of recipes: their types, limits and meanings, checked by pydantic.

The keyword-only parameters of a recipe are its options. Their annotations state the limits and, in one line, the
meaning. The pydantic schema of the signature converts text, TOML and Python values and reports all faults at once; the
option tables of the documentation are generated from it.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from pyrogen.errors import ConfigError, unknown

_SHOWN = 200  # characters of a value in a message


def split_values(value: Any) -> Any:
    """``"128,64"`` or ``128`` as the items of a tuple."""
    if isinstance(value, str):
        return tuple(part for part in value.split(",") if part.strip())
    return value if isinstance(value, list | tuple) else (value,)


LONGEST = 10**9
"""The most steps of a run, and rows of a batch."""
LARGEST = 10**6
"""The greatest size of anything; whether a model of such sizes fits into memory is checked when it is built."""
DEEPEST = 1000
"""The most of what is done one after another: layers, updates of a critic in a step."""

Size = Annotated[int, Field(gt=0, le=LARGEST)]
Count = Annotated[int, Field(gt=0, le=DEEPEST)]
NonNegativeCount = Annotated[int, Field(ge=0, le=DEEPEST)]
# Beyond them, float32 overflows.
Positive = Annotated[float, Field(gt=0, le=1e9)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
Integers = Annotated[tuple[Size, ...], Field(max_length=DEEPEST), BeforeValidator(split_values)]
Widths = Annotated[Integers, Field(min_length=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]

Steps = Annotated[int, Field(gt=0, le=LONGEST, description="optimiser steps")]
BatchSize = Annotated[int, Field(gt=0, le=LONGEST, description="rows per batch")]
LearningRate = Annotated[
    Positive, Field(description="Adam's learning rate; short linear warm-up, then cosine decay to zero")
]
OneStep = Annotated[Steps, Field(description="one is enough: the model is fitted in closed form")]
LoggedBatch = Annotated[BatchSize, Field(description="rows per batch, for the logged loss only")]

Latent = Annotated[Size, Field(description="dimension of z")]
Hidden = Annotated[Widths, Field(description="widths of the hidden layers")]
EncoderHidden = Annotated[
    Widths,
    Field(
        description="widths of the encoder's hidden layers, reversed for the decoder; for `conv`, the first is the "
        "width of the first convolution"
    ),
]
Components = Annotated[Size, Field(description="components of each mixture; unused on binary data")]
BaseComponents = Annotated[
    Size, Field(description="Gaussians in each conditional of the base distribution; 1 for a standard normal")
]
LabelCondition = Annotated[
    Literal["none", "label"], Field(description="`label` for a density of each class, p(x | y); `none` for p(x)")
]
Network = Annotated[Literal["mlp", "conv"], Field(description="`mlp`, or `conv` for images of at least 8 × 8")]
AnyNetwork = Annotated[Literal["auto", "mlp", "conv"], Field(description="`auto` is `conv` for images, else `mlp`")]
Observation = Annotated[
    Literal["auto", "bernoulli", "gaussian", "discretized_logistic", "mixture"],
    Field(
        description="observation model p(x | z); `auto` is `bernoulli` for binary data, `discretized_logistic` for "
        "dequantised images in [0, 1], else `gaussian`; `mixture` is one of three of the latter two"
    ),
]
Sigma = Annotated[
    Positive | Literal["learned"],
    Field(description="standard deviation of the `gaussian` observation model, or `learned`"),
]
Condition = Annotated[
    Literal["auto", "label", "none"],
    Field(description="`label` conditions both networks on the class; `auto` does so where the data have labels"),
]
Codes = Annotated[int, Field(ge=2, le=LARGEST, description="K, the size of each codebook")]
CodeDimension = Annotated[Size, Field(description="dimension of a codebook vector")]
ConvChannels = Annotated[Size, Field(description="channels of the convolutions")]
CodebookAverages = Annotated[bool, Field(description="learn the codebook by moving averages, else by a loss")]
PriorWidth = Annotated[Size, Field(multiple_of=4, description="width of the prior's transformer")]
Beta = Annotated[NonNegative, Field(description="weight of the KL divergence")]
KLWarmup = Annotated[int, Field(ge=0, le=LONGEST, description="steps over which the weight increases from 0")]
FreeNats = Annotated[NonNegative, Field(description="λ, free nats for each latent dimension")]
Particles = Annotated[int, Field(gt=0, le=10_000, description="importance samples of the objective")]

Code = Annotated[
    Size | Literal["auto"],
    Field(description="dimension of the code, at most that of the data; `auto`: 32, or half that of the data if less"),
]
InputNoise = Annotated[NonNegative, Field(description="σ of the noise added to the input in training")]
Covariance = Annotated[
    Literal["auto", "diagonal", "full"],
    Field(description="form of the covariance; `auto`: full with more than two training data per dimension"),
]

AdversarialSteps = Annotated[Steps, Field(description="training steps, each with one critic update")]
JointSteps = Annotated[Steps, Field(description="training steps, each with both updates")]
CriticSteps = Annotated[int, Field(gt=0, le=LONGEST, description="critic updates per generator update")]
CriticRate = Annotated[Positive, Field(description="learning rate of the critic, relative to the generator's")]
Average = Annotated[Decay, Field(description="decay of the exponential moving average of the weights")]
GanLoss = Annotated[
    Literal["non_saturating", "minimax", "hinge", "least_squares"], Field(description="adversarial loss")
]
Binary = Annotated[int, Field(ge=0, le=LARGEST, description="coordinates of z that are -1 or 1; at most `latent`")]
Width = Annotated[Size, Field(description="channels at the image side; doubled at each halving of its size")]
GeneratorHidden = Annotated[
    Widths, Field(description="widths of the generator's hidden layers, reversed for the critic")
]
MLPHidden = Annotated[Widths, Field(description="widths of the hidden layers, for `mlp`")]
ConvWidth = Annotated[Size, Field(description="channels at the image side, for `conv`")]
Layers = Annotated[
    NonNegativeCount,
    Field(description="convolutions of each network; 0: until a side is below 8, and at least 2"),
]
ConvLayers = Annotated[
    Layers,
    Field(description="convolutions of each network, for `conv`; 0: until a side is below 8, and at least 2"),
]
R1 = Annotated[NonNegative, Field(description="γ of R1, for real data in units of their variance; 0 for no penalty")]
R1Start = Annotated[
    NonNegative,
    Field(description="initial γ, decreased log-linearly to `r1` over 60% of the steps; 0 for a constant γ"),
]


@dataclass(frozen=True)
class Option:
    """One option of a recipe, as shown in tables.

    Args:
        name: the keyword.
        default: its default, as written after ``--set name=``.
        limits: the allowed values.
        meaning: its meaning, in one line.
    """

    name: str
    default: str
    limits: str
    meaning: str


def schema_of(recipe: Callable[..., Any]) -> type[BaseModel]:
    """The pydantic model of the keyword-only parameters of ``recipe``."""
    hints = get_type_hints(recipe, include_extras=True)
    keywords = [p for p in inspect.signature(recipe).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    fields: dict[str, Any] = {p.name: (hints[p.name], p.default) for p in keywords}
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)
    return create_model(recipe.__name__, __config__=settings, **fields)


def parse_pairs(pairs: Iterable[str], what: str) -> dict[str, str]:
    """Settings as they are written, ``["latent=10", …]``, as a mapping.

    Args:
        pairs: the settings.
        what: what they are, for messages.

    Raises:
        ConfigError: for one without a name or without ``=``.
    """
    split = [pair.partition("=") for pair in pairs]
    for key, equals, value in split:
        if not (key and equals):
            raise ConfigError(f"{what} must be KEY=VALUE; got {key + equals + value!r}")
    return {key.strip().replace("-", "_"): value.strip() for key, _, value in split}


def bind(schema: type[BaseModel], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """All options: the given values, converted to their types, and the defaults of the others.

    Args:
        schema: the schema of the options.
        given: values by name, as text (``"128,64"``), TOML or Python values.
        name: the name of the model, for messages.

    Raises:
        ConfigError: naming every unknown option (with the nearest known name) and every value outside its limits.
    """
    try:
        return dict(schema(**given))
    except ValidationError as error:
        raise ConfigError("; ".join(faults(error, f"option of {name}", schema.model_fields))) from None


def faults(error: ValidationError, what: str, known: Iterable[str]) -> list[str]:
    """The faults found by pydantic, one message each: the name, the expected and the given value."""
    found: dict[str, list[str]] = {}
    given: dict[str, Any] = {}
    for fault in error.errors():
        name, *rest = map(str, fault["loc"])
        place = name + "".join(f"[{part}]" for part in rest if part.isdigit())
        if fault["type"] == "extra_forbidden":
            found[name] = [str(unknown(what, name, known))]
        elif fault["type"] == "missing":
            found[name] = [f"{name} is missing"]
        elif fault["type"] == "value_error":
            found[name or what] = [str(fault["ctx"]["error"])]
        elif fault["type"] == "literal_error" and isinstance(fault["input"], str) and len(rest) == 0:
            choices = [part.strip(" '") for part in fault["ctx"]["expected"].replace(" or ", ",").split(",")]
            found[name] = [str(unknown(name, fault["input"], choices))]
        else:
            given[place] = fault["input"]
            found.setdefault(place, []).append(_expected(fault["msg"]))
    return [  # a union has one fault per type
        parts[0] if place not in given else f"{place} must {_either(parts)}; got {_shown(given[place])}"
        for place, parts in found.items()
    ]


def _shown(value: Any) -> str:
    """A value as Python writes it, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write an integer of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _either(parts: list[str]) -> str:
    return " or ".join([parts[0], *(part.removeprefix("be ") for part in parts[1:])])


def _expected(message: str) -> str:
    """The expectation in pydantic's message, without the input, e.g. ``be greater than 0``."""
    found = re.match(r"(?:\w+) should (.*?)(?:, (?:unable|got) .*| after validation.*)?$", message)
    return found.group(1) if found else f"be valid ({message})"


def options_of(schema: type[BaseModel]) -> list[Option]:
    """The options in the order of the signature."""
    properties = schema.model_json_schema()["properties"]
    return [
        Option(name, written(field.default), limits(properties[name]), field.description or "")
        for name, field in schema.model_fields.items()
    ]


def written(value: Any) -> str:
    """A value as written after ``--set name=``."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def limits(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(limits(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"each {limits(schema['items'])}"
    if schema["type"] == "boolean":
        return "`true`, `false`"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {schema[key]:{',' if isinstance(schema[key], int) else 'g'}}"
        for key, sign in signs.items()
        if key in schema
    ]
    multiple = [f"a multiple of {schema['multipleOf']}"] if "multipleOf" in schema else []
    return ", ".join(["integer"] * (schema["type"] == "integer") + bounds + multiple)
