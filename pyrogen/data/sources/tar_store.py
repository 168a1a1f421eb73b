"""Images in tar files of the webdataset form, which are read by their positions, without unpacking them."""

import os
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from pyrogen.data.sources.decode import SUFFIXES
from pyrogen.data.sources.stores import Tree
from pyrogen.data.sources.untrusted import reading
from pyrogen.errors import DataError
from pyrogen.files import regular_file

_LONGEST_LABEL = 200


class TarStore:
    """The images of several tar files: ``0001.jpg`` with its label, a text, in ``0001.cls`` beside it, if it has one.

    To its reader an image with a label is in a folder of that name. The headers of all members are read once.

    Args:
        files: the tar files, not compressed.

    Raises:
        DataError: naming a file that is not such a tar file, or a label that is no name of a class.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        self._places: dict[str, tuple[int, int, int]] = {}  # the number of the file, where the image begins, its size
        for number, file in enumerate(files):
            with reading(str(file), "a tar file that is not compressed"):
                self._index(number, file)

    def _index(self, number: int, file: Path) -> None:
        whole, labels, images = os.stat(file).st_size, {}, []
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if not member.isfile() or member.sparse is not None:
                    continue
                if member.offset_data + member.size > whole:
                    raise DataError(f"{file}: it is cut off within {member.name!r}")
                stem, suffix = os.path.splitext(member.name)
                if suffix.lower() in SUFFIXES:
                    images.append((stem, suffix, member.offset_data, member.size))
                elif suffix == ".cls":
                    labels[stem] = self._label(file, member.offset_data, member.size)
        for stem, suffix, offset, size in images:
            folder = f"{labels[stem]}/" if stem in labels else ""
            name = f"{folder}{file.stem}.{PurePosixPath(stem).as_posix().replace('/', '.')}{suffix}"
            self._places[name] = number, offset, size

    def _label(self, file: Path, offset: int, size: int) -> str:
        text = self._bytes(file, offset, min(size, _LONGEST_LABEL + 1)).decode(errors="replace").strip()
        if not text or len(text) > _LONGEST_LABEL or "/" in text or not text.isprintable():
            raise DataError(f"{file}: expected a label of at most {_LONGEST_LABEL} characters, got {text[:40]!r}")
        return text

    @staticmethod
    def _bytes(file: Path, offset: int, size: int) -> bytes:
        with regular_file(file) as stream:
            stream.seek(offset)
            return stream.read(size)

    def open(self, name: str) -> IO[bytes]:
        """Open an image for reading."""
        number, offset, size = self._places[name]
        return BytesIO(self._bytes(self.files[number], offset, size))

    def size(self, name: str) -> int:
        """The size of an image file in bytes."""
        return self._places[name][2]

    def where(self, name: str = "") -> str:
        """The path of the tar files' folder, and of an image in one of them."""
        if not name:
            return str(self.files[0] if len(self.files) == 1 else self.files[0].parent)
        return f"{self.files[self._places[name][0]]}/{name}"

    def stamp(self, name: str) -> tuple[int, int]:
        """The size of an image, and the second in which its tar file was last changed."""
        number, _, size = self._places[name]
        return size, int(os.stat(self.files[number]).st_mtime)

    def scan(self) -> Tree:
        """List the images."""
        folders = {name.split("/")[0] for name in self._places if "/" in name}
        return Tree(sorted(self._places), sorted(folders), [], [])
