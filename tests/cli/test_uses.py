"""The commands that use a trained model."""

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import caller
from PIL import Image

from pyrogen import use
from pyrogen.cli.uses.restoration import seen_values
from pyrogen.errors import ConfigError
from pyrogen.training import configure, open, train
from pyrogen.training.run import Run

SMALL = {"steps": 20, "batch_size": 32}


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def picture_size(path):
    with Image.open(path) as image:
        return image.size


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_pictures(folder, n, level=100, seed=0):
    """Noisy grey pictures of 8 x 8 pixels."""
    folder.mkdir()
    noise = np.random.default_rng(seed).integers(-20, 20, (n, 8, 8))
    for i, pixels in enumerate((level + noise).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"picture-{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A VAE of binary digits, a MADE of them, a GAN, and a PPCA of pictures."""
    folder = tmp_path_factory.mktemp("uses")
    options = {"vae": {"hidden": (8,), "latent": 2}, "made": {"hidden": (8,)}, "gan": {"hidden": (8,)}}
    for name, given in options.items():
        data = "digits" if name == "gan" else "digits-binary"
        train(Run.create(folder / name, configure(name, data, options={**SMALL, **given})))
    pictures = write_pictures(folder / "pictures", 60)
    train(Run.create(folder / "ppca", configure("ppca", str(pictures), options={"latent": 2, "batch_size": 48})))
    return folder


@pytest.fixture
def pyrogen(monkeypatch, capsys, runs):
    """Call the command line in this process: ``(status, stderr)``."""
    call = caller(monkeypatch, capsys, runs)
    return lambda *arguments: call(*arguments)[::2]


def test_codes_come_back_as_reconstructions(pyrogen, runs):
    assert pyrogen("encode", "vae", "--out", "codes.npz")[0] == 0
    assert pyrogen("decode", "vae", "--codes", "codes.npz", "--out", "decoded.npz")[0] == 0
    assert pyrogen("reconstruct", "vae", "--out", "again.npz")[0] == 0
    codes, decoded, again = (arrays(f"{name}.npz") for name in ("codes", "decoded", "again"))
    opened = open(runs / "vae")
    x, y = opened.data.test.tensors()
    np.testing.assert_allclose(codes["codes"], use.encode(opened.model, x).numpy(), atol=1e-6)
    assert np.array_equal(codes["labels"], y.numpy())
    assert np.array_equal(decoded["data"], again["data"])
    assert pyrogen("reconstruct", "vae", "--out", "again.png")[0] == 0
    assert picture_size("again.png")[0] > 300
    status, err = pyrogen("encode", "gan", "--out", "codes.npz")
    assert (status, "has no codes" in err) == (2, True)
    status, err = pyrogen("decode", "vae", "--codes", "again.npz", "--out", "x.npz")
    assert (status, "no array `codes`" in err) == (2, True)


def test_compressed_data_come_back_bit_for_bit(pyrogen, runs):
    for name in ("vae", "made"):
        status, err = pyrogen("compress", name, "--out", f"{name}.bin")
        assert (status, "bits per dimension" in err) == (0, True)
        assert pyrogen("decompress", f"{name}.bin", "--model", name, "--out", "levels.npy")[0] == 0
        x = open(runs / name).data.test.tensors()[0]
        assert np.array_equal(np.load("levels.npy"), x.numpy().astype(np.uint8))
    status, err = pyrogen("decompress", "vae.bin", "--model", "made", "--out", "levels.npy")
    assert (status, "other weights" in err) == (2, True)


def test_other_data_are_used_by_the_names_of_their_files(pyrogen, tmp_path):
    others = write_pictures(tmp_path / "others", 5, seed=1)
    Image.fromarray(np.full((8, 8), 250, np.uint8)).save(others / "bright.png")
    assert pyrogen("outliers", "ppca", "--data", others, "--score", "likelihood", "--out", "strange.csv")[0] == 0
    found = table(Path("strange.csv"))
    assert found[0]["file"] == "bright.png"
    assert sorted(row["file"] for row in found)[1:] == [f"picture-{i:02d}.png" for i in range(5)]
    assert pyrogen("encode", "ppca", "--data", others, "--out", "codes.npz")[0] == 0
    assert np.abs(arrays("codes.npz")["codes"]).sum(1).argmax() == 0  # files are in the order of their names
    status, err = pyrogen("encode", "vae", "--data", others, "--out", "codes.npz")
    assert (status, "expected a mass" in err) == (2, True)


def test_outliers_are_ranked(pyrogen):
    status, err = pyrogen("outliers", "vae", "--out", "strange.csv", "--sheet", "strange.png", "--k", 2)
    assert (status, "false discovery rate" in err) == (0, True)
    rows = table(Path("strange.csv"))
    values = [float(row["residual"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert sorted(int(row["row"]) for row in rows) == list(range(len(rows)))
    assert picture_size("strange.png")[0] > 300


def test_weights_make_codes_even(pyrogen, runs):
    status, err = pyrogen("weights", "vae", "--out", "weights.csv", "--alpha", 0.5)
    assert (status, "evenness" in err) == (0, True)
    rows = table(Path("weights.csv"))
    data = open(runs / "vae").data
    assert [int(row["row"]) for row in rows] == list(range(len(data.train)))
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(len(rows))
    assert pyrogen("weights", "ppca", "--out", "weights.csv")[0] == 0  # of its file, in the order of the file
    assert [row["file"] for row in table(Path("weights.csv"))] == [f"picture-{i:02d}.png" for i in range(60)]


@pytest.mark.parametrize(
    "command", ["encode", "outliers", "cluster", "weights", "interpolate", "reconstruct", "explore"]
)
def test_a_wrong_suffix_is_refused_before_anything_is_read(pyrogen, command):
    status, err = pyrogen(command, "vae", "--out", "out.txt")
    assert (status, "--out must end in" in err, "'out.txt'" in err) == (2, True, True)


def test_a_sheet_that_is_no_picture_is_refused_before_anything_is_written(pyrogen):
    status, err = pyrogen("outliers", "vae", "--out", "never.csv", "--sheet", "sheet.txt")
    assert (status, "--sheet must end in .png; got 'sheet.txt'" in err) == (2, True)
    assert not Path("never.csv").exists()


def test_paths_alterations_and_clusters(pyrogen):
    for name in ("vae", "gan"):
        assert pyrogen("interpolate", name, "--out", "paths.png", "--n", 3, "--path", "spherical")[0] == 0
        assert picture_size("paths.png") == (9 * 42 - 2, 3 * 42 - 2)
    assert pyrogen("interpolate", "vae", "--out", "paths.npz", "--n", 2)[0] == 0
    assert arrays("paths.npz")["data"].shape == (2, 9, 1, 8, 8)
    assert pyrogen("alter", "vae", "--towards", 3, "--away", 5, "--out", "altered.png")[0] == 0
    status, err = pyrogen("alter", "vae", "--towards", "cat", "--out", "altered.png")
    assert (status, "unknown class 'cat'" in err) == (2, True)
    assert pyrogen("cluster", "vae", "--out", "clusters.csv")[0] == 0


def test_pages_to_explore(pyrogen, runs):
    status, err = pyrogen("explore", "vae", "--n", 40)
    assert (status, "wrote vae/explore.html: 0." in err) == (0, True)
    page = (runs / "vae" / "explore.html").read_text()
    assert "VAE on <em>digits-binary</em>" in page
    assert page.count('<use href="#shape') == 40 + 10  # with those of the legend
    assert pyrogen("explore", "gan", "--out", "gan.html")[0] == 0
    assert "The plane of codes" not in Path("gan.html").read_text()
    assert pyrogen("explore", "ppca", "--data", "pictures", "--out", "ppca.html")[0] == 0
    assert "datum 59" in Path("ppca.html").read_text()
    for arguments, reason in (
        (("made",), "MADE has neither codes nor a generator"),
        (("gan", "--data", "digits"), "GAN has no encoder"),
        (("vae", "--out", "page.png"), "must end in .html; got 'page.png'"),
    ):
        status, err = pyrogen("explore", *arguments)
        assert (status, reason in err) == (2, True)


def test_restoration(pyrogen):
    assert pyrogen("restore", "vae", "--mask", "left", "--out", "left.npz", "--n", 2, "--draws", 2)[0] == 0
    found = arrays("left.npz")
    assert found["draws"].shape == (2, 2, 1, 8, 8)
    assert np.array_equal(found["draws"][:, 0, :, :, :4], found["data"][..., :4])
    assert pyrogen("restore", "made", "--mask", "top", "--out", "top.png", "--n", 2, "--draws", 3)[0] == 0
    assert picture_size("top.png") == (5 * 42 - 2, 2 * 42 - 2)
    for options in ((), ("--mask", "left", "--grey"), ("--mask", "middle"), ("--mask", "random:2")):
        assert pyrogen("restore", "vae", *options, "--out", "x.png")[0] == 2


def test_masks_by_name():
    assert seen_values("quadrant", (1, 4, 4), 0)[0].tolist() == [[False] * 4] * 2 + [[True, True, False, False]] * 2
    few = seen_values("random:0.3", (3, 20, 20), 1)
    assert 80 < int(few[0].sum()) < 160
    assert bool((few[0] == few[2]).all())
    with pytest.raises(ConfigError, match="unknown mask 'left'"):
        seen_values("left", (5,), 0)
