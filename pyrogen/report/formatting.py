"""Numbers and names as people read them: as many digits as are known, a true minus sign, units in words."""

from collections.abc import Mapping
from math import floor, isfinite, isinf, isnan, log10
from typing import Any

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
SUPERSCRIPT = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")

KINDS = {
    "exact": "EXACT",
    "lower_bound": "≥ LOWER BOUND",
    "upper_bound": "≤ UPPER BOUND",
    "estimate": "≈ ESTIMATE",
    "statistic": "STATISTIC",
}
NAMES = {
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


def quantity(value: float | None, stderr: float | None = None) -> tuple[str, str]:
    """A value and its standard error, both cut where the error makes the digits meaningless.

    The error keeps one digit, or two if the first is a 1; a value without error keeps three.

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


def number(value: float | None) -> str:
    """A number on its own, to three digits; a dash where there is none."""
    return quantity(value)[0]


def p_value(p: float) -> str:
    """``p = 0.004``; below a thousandth, where resampling resolves nothing, only that."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them: ``20 ms``, ``3.1 s``, ``4 min 12 s``, ``2 h 05 min``."""
    if seconds is None or not isfinite(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def title(name: str) -> str:
    """The name of a score as a reader knows it."""
    return NAMES.get(name, name.replace("_", " "))


def unit(score: Mapping[str, Any]) -> str:
    """The unit to write behind a score's value."""
    return "MMD²" if score["unit"] == "mmd2" else score["unit"]


def details(score: Mapping[str, Any]) -> str:
    """What a score carries beside value, error, kind, unit and note: ``n = 449, k = 100``."""
    fixed = ("value", "stderr", "kind", "unit", "note")
    return ", ".join(f"{name.replace('_', ' ')} = {_brief(v)}" for name, v in score.items() if name not in fixed)


def count(n: int) -> str:
    """A number of things: ``1,168``."""
    return f"{n:,}"


def setting(value: Any) -> str:
    """A value of a configuration, in full: what is written here must be enough to repeat the run."""
    return (", ".join(map(setting, value)) or "none") if isinstance(value, list | tuple) else str(value)


def _brief(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_brief, value))}]"
    return number(value) if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{_signed(mantissa)} {TIMES} 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _signed(text: str) -> str:
    # A value that rounds to nothing has no sign.
    return text.replace("-", MINUS) if text.strip("-0.,") else text.lstrip("-")
