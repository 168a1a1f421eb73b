"""Formatting of numbers and names: significant digits, a typographic minus sign, units."""

from collections.abc import Mapping
from math import floor, isfinite, isinf, isnan, log10
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
    "mmd2": "MMD²",
    "c2st": "C2ST",
    "fid": "FID",
    "kid": "KID",
    "swd": "sliced Wasserstein",
    "reverse_kl": "reverse KL",
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
    lead = floor(log10(error))
    decimals = min(6, max(0, -lead + (error < 2 * 10**lead)))
    return _signed(f"{value:,.{decimals}f}"), f"{error:,.{decimals}f}"


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
    """Return the display name of a score."""
    return SCORE_TITLES.get(name, name.replace("_", " "))


def score_unit(score: Mapping[str, Any]) -> str:
    """Return the display name of a score's unit."""
    return "MMD²" if score["unit"] == "mmd2" else score["unit"]


def score_details(score: Mapping[str, Any]) -> str:
    """Format the details of a score besides value, error, kind, unit and note: ``n = 449, k = 100``."""
    fixed = ("value", "stderr", "kind", "unit", "interval", "note")
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


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{_signed(mantissa)} {TIMES} 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _signed(text: str) -> str:
    # A value that rounds to zero has no sign.
    return text.replace("-", MINUS) if text.strip("-0.,") else text.lstrip("-")
