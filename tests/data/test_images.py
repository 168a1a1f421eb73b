"""Image folders: supported formats, their storage, and the errors for invalid ones."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyrogen.data import Space, from_folder
from pyrogen.errors import DataError, DataWarning

EIGHT_BIT = Space("unit", levels=256)


def grey(value: int = 100, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new("L", size, value)


def deep(*values: int) -> Image.Image:
    """Return a 16-bit grey image with one row."""
    return Image.fromarray(np.array([values], dtype=np.uint16))


def folder_of(folder: Path, *images: Image.Image, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i}{suffix}")
    return folder


def refusal(folder: Path) -> str:
    """Return the error message for an invalid folder, which must be one line."""
    with pytest.raises(DataError) as caught:
        from_folder(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, grey(0), grey(255), grey(7)))
    assert rows.x.dtype == torch.uint8
    assert rows.x.shape == (3, 1, 4, 6)
    assert rows.x[:, 0, 0, 0].tolist() == [0, 255, 7]
    assert rows.y is None
    assert rows.classes == ()
    assert rows.space == EIGHT_BIT


def test_subfolders_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    folder_of(tmp_path / "dog", grey(1))
    folder_of(tmp_path / "cat", grey(2), grey(3))
    folder_of(tmp_path / "owl", grey(4))
    rows = from_folder(str(tmp_path))
    assert rows.classes == ("cat", "dog", "owl")
    assert rows.y is not None
    assert rows.y.dtype == torch.int64
    assert rows.y.tolist() == [0, 0, 1, 2]
    assert rows.x[:, 0, 0, 0].tolist() == [2, 3, 1, 4]


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    folder_of(tmp_path, grey(), grey())
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "._0.png").write_bytes(b"x")
    (tmp_path / "notes.csv").write_text("0,1")
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes").mkdir()
    assert from_folder(tmp_path).x.shape == (2, 1, 4, 6)
    folder_of(tmp_path / ".thumbnails", grey())
    with pytest.warns(DataWarning, match=r"images in hidden folders are left out, such as .*\.thumbnails"):
        assert from_folder(tmp_path).x.shape == (2, 1, 4, 6)


@pytest.mark.parametrize("suffix", [".PNG", ".jpg", ".JPEG", ".bmp", ".gif", ".webp", ".tif", ".tiff"])
def test_every_format_in_upper_and_lower_case(tmp_path: Path, suffix: str) -> None:
    rows = from_folder(folder_of(tmp_path, Image.new("RGB", (8, 8), (200, 0, 100)), suffix=suffix))
    assert rows.x.shape == (1, 3, 8, 8)
    assert (rows.x[0, :, 4, 4].int() - torch.tensor([200, 0, 100])).abs().max() <= 4


def test_links_are_followed(tmp_path: Path) -> None:
    real = folder_of(tmp_path / "elsewhere", grey(9))
    (tmp_path / "links" / "file").mkdir(parents=True)
    (tmp_path / "links" / "file" / "a.png").symlink_to(real / "0.png")
    (tmp_path / "links" / "folder").symlink_to(real)
    rows = from_folder(tmp_path / "links")
    assert rows.classes == ("file", "folder")
    assert rows.x.unique().tolist() == [9]


def test_a_single_pixel_and_a_single_image(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, Image.new("L", (1, 1), 255)))
    assert rows.x.tolist() == [[[[255]]]]


def test_one_colour_image_makes_all_of_them_colour(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, grey(50), Image.new("RGB", (6, 4), (1, 2, 3))))
    assert rows.x[:, :, 0, 0].tolist() == [[50, 50, 50], [1, 2, 3]]


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("1", (2, 2), 1), [255]),
        (Image.new("LA", (2, 2), (100, 0)), [255]),
        (Image.new("LA", (2, 2), (100, 255)), [100]),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 0)), [255, 255, 255]),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), [10, 20, 30]),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 51)), [204, 204, 204]),
        (Image.new("RGB", (2, 2), (10, 200, 30)).quantize(), [10, 200, 30]),
        (Image.new("L", (2, 2), 77).convert("RGB").quantize(), [77]),
    ],
    ids=["1-bit", "clear grey", "solid grey", "clear", "solid", "a fifth black", "palette", "grey palette"],
)
def test_image_modes(tmp_path: Path, image: Image.Image, pixel: list[int]) -> None:
    assert from_folder(folder_of(tmp_path, image)).x[0, :, 0, 0].tolist() == pixel


def test_a_palette_with_a_transparent_colour_is_composited_onto_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=0)
    assert from_folder(tmp_path).x[0, :, 0].T.tolist() == [[255, 255, 255], [40, 50, 60]]


def test_a_cmyk_jpeg(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), suffix=".jpg"))
    assert (rows.x[0, :, 4, 4].int() - torch.tensor([255, 0, 0])).abs().max() <= 4


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [grey(v) for v in (10, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert from_folder(tmp_path).x.unique().tolist() == [10]


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways: to be turned by a quarter
    grey(size=(6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert from_folder(tmp_path).x.shape == (1, 1, 6, 4)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, deep(0, 1000, 20000, 60000, 65535)))
    assert rows.space == Space("unit")
    assert torch.equal(rows.x, torch.tensor([[[[0, 1000, 20000, 60000, 65535]]]]) / 65535)


def test_sixteen_bits_beside_eight(tmp_path: Path) -> None:
    colour = Image.new("RGB", (1, 1), (255, 0, 51))
    with pytest.warns(DataWarning, match="greatest value is 1000: read as 10-bit grey levels, divided by 1023"):
        rows = from_folder(folder_of(tmp_path, deep(1000), grey(51, size=(1, 1)), colour))
    expected = [[1000 / 1023] * 3, [0.2] * 3, [1.0, 0.0, 0.2]]
    assert torch.allclose(rows.x[:, :, 0, 0], torch.tensor(expected))


def test_sixteen_bit_images_with_eight_bit_content(tmp_path: Path) -> None:
    rows = from_folder(folder_of(tmp_path, deep(0, 257, 65535)))
    assert rows.space == EIGHT_BIT
    assert rows.x.flatten().tolist() == [0, 1, 255]


def test_mixed_sizes_name_two_files(tmp_path: Path) -> None:
    message = refusal(folder_of(tmp_path, grey(), grey(), grey(size=(5, 4))))
    assert f"{tmp_path / '0.png'} is 6 x 4" in message
    assert f"{tmp_path / '2.png'} is 5 x 4" in message


def test_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    assert str(tmp_path / "faces") in refusal(tmp_path / "faces")
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(tmp_path / "file")


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "readme.txt").write_text("nothing")
    message = refusal(tmp_path)
    assert str(tmp_path) in message
    assert ".png" in message
    folder_of(tmp_path / "dog", grey())
    assert str(tmp_path / "cat") in refusal(tmp_path)


def test_images_beside_class_folders(tmp_path: Path) -> None:
    folder_of(tmp_path, grey())
    folder_of(tmp_path / "cat", grey())
    message = refusal(tmp_path)
    assert "0.png" in message
    assert "cat" in message


@pytest.mark.parametrize("content", [b"", b"this is text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_a_file_that_is_not_an_image(tmp_path: Path, content: bytes) -> None:
    folder_of(tmp_path, grey())
    (tmp_path / "1.png").write_bytes(content)
    assert str(tmp_path / "1.png") in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_image(tmp_path: Path, suffix: str, kept: float) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    file = folder_of(tmp_path, Image.fromarray(pixels), suffix=suffix) / f"0{suffix}"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    assert str(file) in refusal(tmp_path)


@pytest.mark.parametrize("limit", [10, 15], ids=["beyond twice the limit", "beyond the limit"])
def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    folder_of(tmp_path, grey())  # 24 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    message = refusal(tmp_path)
    assert "0.png" in message
    assert "24 pixels" in message


@pytest.mark.parametrize("target", ["0.png", "nowhere.png"], ids=["a loop", "a dangling link"])
def test_a_file_that_cannot_be_opened(tmp_path: Path, target: str) -> None:
    (tmp_path / "0.png").symlink_to(tmp_path / target)
    assert str(tmp_path / "0.png") in refusal(tmp_path)


def test_a_file_without_read_permission(tmp_path: Path) -> None:
    file = folder_of(tmp_path, grey()) / "0.png"
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read every file")
    assert "Permission denied" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("values", "named"),
    [(np.array([[0, 70000]], dtype=np.int32), "70000"), (np.array([[0.5]], dtype=np.float32), "floating point")],
)
def test_images_of_more_than_16_bits_are_rejected(tmp_path: Path, values: np.ndarray, named: str) -> None:
    message = refusal(folder_of(tmp_path, Image.fromarray(values), suffix=".tif"))
    assert "0.tif" in message
    assert named in message
