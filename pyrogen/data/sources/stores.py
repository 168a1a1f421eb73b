"""Where image files are: a folder, or a zip file that is read without unpacking it."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol
from zipfile import ZipFile

from pyrogen.data.sources.decode import SUFFIXES, Files
from pyrogen.data.sources.untrusted import reading
from pyrogen.errors import DataError
from pyrogen.files import regular_file

_DEEPEST = 6  # levels of folders that are searched; links may form loops


class Tree(NamedTuple):
    """The contents of a store, by names relative to it with ``/`` between their parts, in order.

    Args:
        images: the files with the suffix of an image, without hidden ones.
        folders: the folders that are not hidden.
        others: the other files, without hidden ones.
        hidden: the hidden folders that hold images.
    """

    images: list[str]
    folders: list[str]
    others: list[str]
    hidden: list[str]


class Store(Files, Protocol):
    """Files by name, which can be listed."""

    def scan(self) -> Tree:
        """List the files."""
        ...

    def stamp(self, name: str) -> tuple[int, int]:
        """The size of a file, and the second in which it was last changed or, if known, a checksum of its content."""
        ...


class FolderStore:
    """A folder.

    Args:
        path: its path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._root = os.path.abspath(path)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return regular_file(f"{self._root}/{name}")

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        return os.stat(f"{self._root}/{name}").st_size

    def where(self, name: str = "") -> str:
        """The path of a file."""
        return str(self.path / name)

    def stamp(self, name: str) -> tuple[int, int]:
        """The size of a file, and the second in which it was last changed."""
        found = os.stat(f"{self._root}/{name}")
        return found.st_size, int(found.st_mtime)

    def scan(self) -> Tree:
        """List the files of the folder and its subfolders.

        Raises:
            DataError: naming a folder that cannot be read.
        """
        tree = Tree([], [], [], [])
        try:
            self._scan("", tree, 0)
        except OSError as error:
            raise DataError(f"expected a folder of images: {error.strerror}: {error.filename}") from error
        return Tree(*(sorted(names) for names in tree))

    def _scan(self, prefix: str, tree: Tree, depth: int) -> None:
        with os.scandir(f"{self._root}/{prefix}") as entries:
            for entry in entries:
                name = prefix + entry.name
                if not entry.is_dir():
                    if not entry.name.startswith("."):
                        (tree.images if _is_image(name) else tree.others).append(name)
                elif _is_hidden(entry.name):
                    if self._holds_image(entry.path):
                        tree.hidden.append(name)
                elif depth < _DEEPEST:
                    tree.folders.append(name)
                    self._scan(f"{name}/", tree, depth + 1)

    def _holds_image(self, path: str) -> bool:
        return any(_is_image(name) and not name.startswith(".") for _, _, files in os.walk(path) for name in files)


class ZipStore:
    """A zip file. A single folder around all its contents is left out of the names.

    Args:
        path: its path.

    Raises:
        DataError: if it is not a zip file, or names a file outside itself.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self._root = Path(path), ""
        self._archive: ZipFile | None = None
        self._pid = 0
        with reading(str(path), "a zip file of images"):
            infos = [info for info in self._zip().infolist() if info.filename]
        self._names = [info.filename for info in infos if not info.is_dir()]
        self._folders = [info.filename.rstrip("/") for info in infos if info.is_dir()]
        for name in (*self._names, *self._folders):
            parts = name.replace("\\", "/").split("/")
            if ".." in parts or not parts[0] or ":" in parts[0]:
                raise DataError(f"{path}: expected names inside the zip file, got {name!r}")
        self._root = self._common_folder()

    def _zip(self) -> ZipFile:
        """The open file; each process has its own, because the position in a file is shared after a fork."""
        if self._archive is None or self._pid != os.getpid():
            self._archive, self._pid = ZipFile(self.path), os.getpid()
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_archive": None}

    def _common_folder(self) -> str:
        shown = [name for name in self._names if not any(_is_hidden(part) for part in name.split("/"))]
        tops = {name.split("/")[0] if "/" in name else "" for name in shown}
        top = tops.pop() if len(tops) == 1 else ""
        return f"{top}/" if top else ""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return self._zip().open(self._root + name)

    def size(self, name: str) -> int:
        """The size of a file in bytes, unpacked."""
        return self._zip().getinfo(self._root + name).file_size

    def where(self, name: str = "") -> str:
        """The path of the zip file, and of a file in it."""
        return f"{self.path}/{self._root}{name}" if name else str(self.path)

    def stamp(self, name: str) -> tuple[int, int]:
        """The size of a file, and the checksum of its content."""
        info = self._zip().getinfo(self._root + name)
        return info.file_size, info.CRC

    def scan(self) -> Tree:
        """List the files."""
        images: set[str] = set()
        others: set[str] = set()
        folders: set[str] = set()
        hidden: set[str] = set()
        for name, is_folder in self._relative():
            parents = [str(parent) for parent in reversed(PurePosixPath(name).parents) if parent.name]
            concealed = next((p for p in (*parents, name) if _is_hidden(PurePosixPath(p).name)), None)
            if concealed in parents:
                if _is_image(name) and not PurePosixPath(name).name.startswith("."):
                    hidden.add(concealed)
                continue
            folders.update(parents, (name,) if is_folder and concealed is None else ())
            if concealed is None and not is_folder:
                (images if _is_image(name) else others).add(name)
        return Tree(sorted(images), sorted(folders), sorted(others), sorted(hidden))

    def _relative(self) -> Iterator[tuple[str, bool]]:
        for names, is_folder in ((self._names, False), (self._folders, True)):
            for name in names:
                if not self._root or (name.startswith(self._root) and name != self._root):
                    yield name.removeprefix(self._root), is_folder


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _is_hidden(name: str) -> bool:
    """Whether a folder is not the user's: ``.thumbnails``, Synology's ``@eaDir``, macOS's ``__MACOSX``."""
    return name.startswith((".", "@")) or name == "__MACOSX"
