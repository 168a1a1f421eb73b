"""Codes of grey levels by models, with the entropy coders of ``constriction``.

Coding and decoding call the networks on the same rows in the same order, as results of other batch sizes may differ in
the last bit.
"""

from pyrogen.use.coding.codec import Codec, codec

__all__ = ["Codec", "codec"]
