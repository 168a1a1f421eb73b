"""Sealed text: every flipped bit and every truncation is noticed; only regular files are read."""

import os

import pytest

from pyrogen.errors import RunError
from pyrogen.files import read_regular, seal_json, seal_lines, unseal_json, unseal_lines

TEXT = 'version = 2\nmodel = "vae"\n# a comment\nlr = 0.001\n'
VALUE = {"t": 7, "names": ["a", "ü"], "nested": {"x": 0.1}}


def damaged(sealed: bytes):
    for place in range(len(sealed)):
        yield sealed[:place]
        for bit in range(8):
            yield sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]


def test_sealed_text_comes_back_and_damage_is_noticed():
    sealed = seal_lines(TEXT).encode()
    assert unseal_lines(sealed.decode()) == TEXT
    assert all(unseal_lines(other.decode(errors="replace")) is None for other in damaged(sealed))


def test_sealed_json_comes_back_and_damage_is_noticed():
    sealed = seal_json(VALUE).encode()
    assert unseal_json(sealed) == VALUE
    assert all(unseal_json(other) in (None, VALUE) for other in damaged(sealed))  # white space may change
    assert unseal_json(b"[]") is None
    assert unseal_json(b"[" * 100_000) is None


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    os.mkfifo(tmp_path / "fifo")
    assert read_regular(tmp_path / "file") == b"content"
    with pytest.raises(RunError, match="7 bytes, at most 6"):
        read_regular(tmp_path / "file", most=6)
    for path in (tmp_path / "fifo", "/dev/zero", tmp_path):
        with pytest.raises(RunError, match="not a regular file"):
            read_regular(path)
    with pytest.raises(RunError, match="No such file"):
        read_regular(tmp_path / "none")
