"""Formatting of numbers and names: significant digits, a typographic minus sign, units."""

from collections.abc import Mapping
from math import floor, inf, isfinite, isinf, isnan, log10
from typing import Any

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
SUPERSCRIPT = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")

KIND_LABELS = {
    "exact": "EXACT",
    "lower_bound": "≥ LOWER BOUND",
    "upper_bound": "≤ UPPER BOUND",
    "estimate": "≈ ESTIMATE",
    "statistic": "STATISTIC",
}
SCORE_TITLES = {
    "log_likelihood": "log-likelihood",
    "bits_per_dim": "bits per dimension",
    "elbo": "ELBO",
    "iwae": "IWAE",
    "ais": "AIS",
    "kde": "KDE",
    "smoothed_log_likelihood": "log-likelihood with common noise",
    "mmd2": "MMD²",
    "c2st": "C2ST",
    "fid": "FID",
    "kid": "KID",
    "swd": "sliced Wasserstein",
    "ndb": "NDB",
    "fld": "FLD",
    "reverse_kl": "reverse KL",
    "w1": "W₁",
    "kl": "KL",
    "histogram_kl": "KL of a histogram",
    "c_t": "C_T",
}


def value_and_error(value: float | None, stderr: float | None = None) -> tuple[str, str]:
    """Format a value and its standard error, both rounded to the precision of the error.

    The error has one significant digit, or two if the first is a 1; a value without error has three.

    >>> quantity(49.4271, 0.6123)
    ('49.4', '0.6')
    >>> quantity(0.0020991)
    ('0.0021', '')
    """
    if value is None:
        return MISSING, ""
    if isnan(value) or isinf(value):
        return "not a number" if isnan(value) else (MINUS if value < 0 else "") + "∞", ""
    error = stderr if stderr and isfinite(stderr) and stderr > 0 else 0.0
    if value and abs(value) < 1e-4 and error < 1e-4:
        return _scientific(value), _scientific(error) if error else ""
    if not error:
        return _signed(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"), ""
    decimals = _decimals(error)
    return _signed(f"{value:,.{decimals}f}") if value else "0", f"{error:,.{decimals}f}"


def interval(score: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95% interval of a score; ``None`` if it has none, or one that is not finite."""
    low, high = score.get("interval") or (inf, inf)
    return (float(low), float(high)) if isfinite(low) and isfinite(high) else None


def value_and_margin(score: Mapping[str, Any]) -> tuple[str, str]:
    """Format a score as its value and its 95% interval, or its standard error if it has no interval.

    >>> value_and_margin({"value": 0.0117, "interval": [0.0095, 0.0142]})
    ('0.0117', '(0.0095 to 0.0142)')
    >>> value_and_margin({"value": 49.4271, "stderr": 0.6123})
    ('49.4', '± 0.6')
    """
    limits = interval(score)
    if limits is None or score["value"] is None or not isfinite(score["value"]):
        value, error = value_and_error(score["value"], score.get("stderr"))
        return value, f"± {error}" if error else ""
    half = (limits[1] - limits[0]) / 2
    value = value_and_error(score["value"], half)[0]
    low, high = (value_and_error(limit, half)[0] for limit in limits)
    return value, f"({low} to {high})"


def format_number(value: float | None) -> str:
    """Format a number with three significant digits; a dash for ``None``."""
    return value_and_error(value)[0]


def format_share(value: float) -> str:
    """Format a share as a percentage, ``12.5%``; a dash for NaN."""
    return f"{value:.1%}" if isfinite(value) else MISSING


def format_p_value(p: float) -> str:
    """Format a p-value, ``p = 0.004``; values below 0.001, the resolution of resampling, as ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def format_duration(seconds: float | None) -> str:
    """Format seconds in a suitable unit: ``20 ms``, ``3.1 s``, ``4 min 12 s``, ``2 h 05 min``."""
    if seconds is None or not isfinite(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def score_title(name: str) -> str:
    """Return the display name of a score; ``fid@classifier`` is ``FID (classifier)``."""
    base, space = split_space(name)
    title = SCORE_TITLES.get(base, base.replace("_", " "))
    return f"{title} ({space})" if space else title


def split_space(name: str) -> tuple[str, str]:
    """Split the name of a score into the measure and the feature space, which is empty for the data's own.

    >>> split_space("fid@classifier")
    ('fid', 'classifier')
    """
    base, _, space = name.partition("@")
    return base, space.replace("_", " ")


def score_unit(score: Mapping[str, Any]) -> str:
    """Return the display name of a score's unit."""
    return "MMD²" if score["unit"] == "mmd2" else score["unit"]


def score_details(score: Mapping[str, Any]) -> str:
    """Format the details of a score that are not shown beside its value: ``n = 449, k = 100``."""
    fixed = ("value", "stderr", "interval", "kind", "unit", "note", "of", "space", "rate_distortion")
    return ", ".join(
        f"{name.replace('_', ' ')} = {_format_detail(v)}" for name, v in score.items() if name not in fixed
    )


def format_count(n: int) -> str:
    """Format an integer: ``1,168``."""
    return f"{n:,}"


def config_value(value: Any) -> str:
    """Format a configuration value in full, so that the run can be repeated from it."""
    return (", ".join(map(config_value, value)) or "none") if isinstance(value, list | tuple) else str(value)


def _format_detail(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format_detail, value))}]"
    return format_number(value) if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _decimals(error: float) -> int:
    """The decimals of an error of one significant digit, or two if the first is a 1."""
    lead = floor(log10(error))
    return min(6, max(0, -lead + (error < 2 * 10**lead)))


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{_signed(mantissa)} {TIMES} 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _signed(text: str) -> str:
    # A value that rounds to zero has no sign.
    return text.replace("-", MINUS) if text.strip("-0.,") else text.lstrip("-")
