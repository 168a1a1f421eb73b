"""Files are written whole or not at all, sealed text shows every damage, and only regular files are read."""

import errno
import os
import re
import subprocess

import pytest

from pyrogen.errors import RunError
from pyrogen.files import (
    append_line,
    make_folder,
    read_regular,
    seal_json,
    seal_lines,
    unseal_json,
    unseal_lines,
    whole_folder,
    write_error,
    write_whole,
)

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


def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def fill(path, needed):
    with whole_folder(path, needed) as part:
        (part / "a").write_bytes(b"content")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"No space left on device \(7 bytes needed, [\d,]+ free\)"),
        (errno.EDQUOT, r"Disk quota exceeded \(7 bytes needed\)"),
        (errno.EFBIG, r"File too large \(7 bytes needed\)"),
        (errno.EROFS, r"Read-only file system"),
        (errno.ENOENT, r"No such file or directory"),
    ],
)
def test_a_failed_write_names_path_reason_and_bytes_and_leaves_what_was_there(tmp_path, monkeypatch, number, said):
    (tmp_path / "file").write_bytes(b"before")
    make_folder(tmp_path / "empty")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    for name in ("fsync", "mkdir", "write"):  # of a file, a folder and a line
        monkeypatch.setattr(os, name, fail)
    for write, name in (
        (lambda path: write_whole(path, b"content"), "file"),
        (lambda path: append_line(path, "conte"), "file"),
        (lambda path: fill(path, 7), "empty"),
    ):
        with pytest.raises(RunError, match=f"^cannot write {re.escape(str(tmp_path / name))}: {said}$"):
            write(tmp_path / name)
    assert (tmp_path / "file").read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"]


def test_errors_of_other_libraries_are_read(tmp_path):
    error = RuntimeError("Error while serializing: I/O error: Read-only file system (os error 30)")
    assert str(write_error(tmp_path, error, 7)) == f"cannot write {tmp_path}: Read-only file system"


def test_leftovers_of_dead_processes_are_removed_and_nothing_else(tmp_path):
    dead, alive = dead_process(), os.getppid()
    ours = [f".file.{dead}.part", f".file.pyrogen-{dead}-0.part", f".other.pyrogen-{dead}-12.part"]
    ours += [f".file.pyrogen-{os.getpid()}-99.part"]  # of a process that had this number before, as in a container
    theirs = [f".file.pyrogen-{alive}-0.part", f".file.{alive}.part", f".other.{dead}.part", "file.part", ".file.part"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text("")
    (tmp_path / f".file.pyrogen-{dead}-1.part").mkdir()
    (tmp_path / f".file.pyrogen-{dead}-1.part" / "a").write_text("")
    write_whole(tmp_path / "file", b"content")
    assert sorted(os.listdir(tmp_path)) == sorted([*theirs, "file"])


def test_a_line_is_appended_after_one_that_was_cut_short(tmp_path):
    for line in ("first", "second"):
        append_line(tmp_path / "lines", line)
    with (tmp_path / "lines").open("a") as file:
        file.write("thi")
    append_line(tmp_path / "lines", "fourth")
    assert (tmp_path / "lines").read_text() == "first\nsecond\nthi\nfourth\n"
