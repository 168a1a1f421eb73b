"""Folders and zip files of images: classes and splits by subfolders, or labels in a file beside the images."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import pyrogen.data.memmap as memmap
from pyrogen.data.columns import natural_key
from pyrogen.data.sources.decode import SUFFIXES
from pyrogen.data.sources.grey_levels import say_depth
from pyrogen.data.sources.image_files import read_images
from pyrogen.data.sources.label_file import LABELS, read_labels
from pyrogen.data.sources.stores import FolderStore, Store, Tree, ZipStore
from pyrogen.data.sources.tar_store import TarStore
from pyrogen.data.space import Space
from pyrogen.data.table import DEFAULTS, RawData, ReadOptions, encode_labels, only_tables
from pyrogen.errors import DataError, DataWarning

_PARTS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}

Classes = Mapping[str, list[str]]
"""Image files by class; the only class is ``""`` in a folder without classes."""


def from_folder(path: str | Path, options: ReadOptions = DEFAULTS) -> RawData:
    """Read a folder of images, all of one size unless ``options.size`` is given.

    Subfolders are the classes, in natural order (``2`` before ``11``). A folder without subfolders has no labels, or
    those of a file ``labels.csv`` in it, with columns ``file`` and ``label``. Subfolders ``train``, ``valid`` (or
    ``val``) and ``test``, each with images or classes, are the split; where ``valid`` or ``test`` is absent, a tenth of
    ``train``, chosen at random, takes its place.

    There is one channel if every image is grey, else three. Grey levels of 16 bits keep their precision, divided by the
    greatest value of the least bit depth (10, 12, 14 or 16) that holds all of them. Images that would take 2 GiB of
    memory or more stay on disk and are decoded for every batch.

    Args:
        path: the folder.
        options: ``size`` resizes the shorter side and crops the centre.

    Returns:
        The images, with labels if there are any.

    Raises:
        DataError: naming a file or folder that is missing, empty, unreadable or of a different size.
    """
    return _image_data(FolderStore(os.path.expanduser(path)), options)


def from_zip(path: str | Path, options: ReadOptions = DEFAULTS) -> RawData:
    """Read a zip file of images, which has the structure of a folder; nothing is unpacked to disk."""
    return _image_data(ZipStore(os.path.expanduser(path)), options)


def from_tar(paths: Sequence[Path], options: ReadOptions = DEFAULTS) -> RawData:
    """Read tar files of images in the form of webdataset, with labels in ``.cls`` files beside them, or without."""
    return _image_data(TarStore(paths), options)


def _image_data(store: Store, options: ReadOptions) -> RawData:
    only_tables(options, store.where(), "images")
    tree = store.scan()
    if tree.hidden:
        _warn(store, f"images in hidden folders are left out, such as {store.where(tree.hidden[0])}")
    prefixes = _parts(store, tree)
    parts = {part: _classes(store, tree, prefix) for part, prefix in prefixes.items()}
    train = next(iter(parts.values()))
    names = tuple(sorted(train, key=natural_key))
    for name in names:
        if not name.isprintable() and any("\ud800" <= c <= "\udfff" for c in name):
            raise DataError(f"{store.where()}: expected names of class folders in UTF-8, got {os.fsencode(name)!r}")
    for part, members in parts.items():
        _check_classes(store, train, members, prefixes[part])
    files = [file for members in parts.values() for name in names for file in members.get(name, [])]
    y = [code for members in parts.values() for code, name in enumerate(names) for _ in members.get(name, [])]
    labels = {} if names != ("",) else _file_labels(store, tree, prefixes.values(), files)
    if names != ("",) and LABELS in tree.others:
        _warn(store, f"{LABELS} is not read, because the class folders give the labels")

    images, peak = read_images(store, files, options.size, memmap.DISK_THRESHOLD)
    x, space = memmap.load_or_map(images), Space("unit", levels=256 if images.dtype == np.uint8 else 0)
    if images.dtype != np.uint8:
        say_depth(store.where(), peak)
    counts = {part: sum(map(len, members.values())) for part, members in parts.items()}
    sizes = None if "" in parts else (counts["train"], counts.get("valid", 0), counts.get("test", 0))
    if labels:
        codes, classes = encode_labels(np.array([labels[file] for file in files], object), store.where(LABELS))
        return RawData(x, codes, classes, space, sizes, tuple(files))
    if names == ("",):
        return RawData(x, None, (), space, sizes, tuple(files))
    return RawData(x, torch.tensor(y), names, space, sizes, tuple(files))


def _warn(store: Store, text: str) -> None:
    warnings.warn(f"{store.where()}: {text}", DataWarning, stacklevel=4)


def _parts(store: Store, tree: Tree) -> dict[str, str]:
    """The folders ``train``, ``valid`` and ``test``, with a slash, by part of the split; ``{"": ""}`` without a split.

    Raises:
        DataError: if there is only a part of a split, or something beside it.
    """
    tops = sorted({name.split("/")[0] for name in tree.images if "/" in name})
    folders = {top: _PARTS[top.lower()] for top in tops if top.lower() in _PARTS}
    others = [top for top in tops if top not in folders]
    if not folders or (others and set(folders.values()) == {"train"}):  # "train" may be a class beside others
        return {"": ""}
    if "train" not in folders.values():
        raise DataError(f"{store.where()}: expected a folder train beside {next(iter(folders))}, found none")
    beside = [*others, *(name for name in tree.images if "/" not in name)]
    if beside:
        raise DataError(f"{store.where()}: expected only train, valid and test, got {beside[0]} beside them")
    if len(set(folders.values())) < len(folders):
        raise DataError(f"{store.where()}: expected one folder of each part, got {', '.join(folders)}")
    found = {part: folder for folder, part in folders.items()}
    return {part: f"{found[part]}/" for part in ("train", "valid", "test") if part in found}


def _classes(store: Store, tree: Tree, prefix: str) -> dict[str, list[str]]:
    """The images in ``prefix`` by class."""
    inside: dict[str, list[str]] = {}
    for folder in tree.folders:
        name = folder.removeprefix(prefix)
        if folder.startswith(prefix) and "/" not in name:
            inside[name] = []
    flat, deeper = [], []
    for file in tree.images:
        if not file.startswith(prefix):
            continue
        folder, *rest = file.removeprefix(prefix).split("/")
        if not rest:
            flat.append(file)
        elif len(rest) == 1:
            inside[folder].append(file)
        else:
            deeper.append(file)
    where, named = store.where(prefix.rstrip("/")), [name for name, files in inside.items() if files]
    if flat and named:
        shown = flat[0].removeprefix(prefix)
        raise DataError(f"{where}: expected either images or class folders, got both ({shown} and {named[0]})")
    if not flat and not named and not deeper:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{where}: expected image files ({suffixes}) in it or in its class folders, found none")
    empty = [] if flat else [name for name, files in inside.items() if not files]
    if empty:
        below = next((file for file in deeper if file.startswith(f"{prefix}{empty[0]}/")), None)
        found = f"found them only deeper, such as {store.where(below)}" if below else "found none"
        raise DataError(f"{store.where(prefix + empty[0])}: expected the images of a class, {found}")
    if deeper:
        _warn(store, f"{len(deeper)} images deeper than the class folders are left out, such as {deeper[0]}")
    return {"": flat} if flat else inside


def _check_classes(store: Store, train: Classes, part: Classes, prefix: str) -> None:
    """Raise unless a part of the split has classes of ``train``."""
    where = store.where(prefix.rstrip("/"))
    if ("" in train) != ("" in part):
        kinds = ("images without class folders", "class folders")
        raise DataError(f"{where}: expected {kinds['' not in train]}, as in train; got {kinds['' in train]}")
    known = ", ".join(sorted(train, key=natural_key))
    new = sorted(part.keys() - train.keys(), key=natural_key)
    if new:
        raise DataError(f"{where}: expected the classes of train ({known}), got {new[0]!r}")


def _file_labels(store: Store, tree: Tree, prefixes: Iterable[str], files: list[str]) -> dict[str, str]:
    """The labels by image, of ``labels.csv`` in the folder or in the parts of its split; empty if there is none."""
    found: dict[str, str] = {}
    for prefix in dict.fromkeys(("", *prefixes)):
        if f"{prefix}{LABELS}" in tree.others:
            inside = [file for file in files if file.startswith(prefix)]
            found |= read_labels(store, prefix, inside)
    missing = next((file for file in files if found and file not in found), None)
    if missing is not None:
        raise DataError(f"{store.where(LABELS)}: expected a label for every image, got none for {missing}")
    return found
