"""What tests of pages in a browser ask of them."""

import io
from typing import Any

import numpy as np
from PIL import Image

WIDTHS = (1200, 700, 390)

# Whatever stands right of the page, but for the table heading that cards keep for screen readers only.
OVERFLOWING = """() => [...document.querySelectorAll("body *")]
    .filter(e => !e.closest("thead") || getComputedStyle(e.closest("thead")).position != "absolute")
    .filter(e => { const box = e.getBoundingClientRect(); return box.right > innerWidth + 0.5 || box.left < -0.5 })
    .map(e => e.outerHTML.slice(0, 120))"""
CLIPPED = """() => [...document.querySelectorAll("body *:not(thead, thead *)")]
    .filter(e => e.clientWidth && getComputedStyle(e).display != "inline" && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.outerHTML.slice(0, 120))"""


def ink(page: Any, selector: str) -> np.ndarray:
    """Return the pixels of the first matching element, ``(height, width, 3)``."""
    with Image.open(io.BytesIO(page.locator(selector).first.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)
