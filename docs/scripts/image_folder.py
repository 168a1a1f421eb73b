"""Loading a folder of small JPEG files, and training from it beside training from an array.

    python docs/scripts/image_folder.py --images 60000 --steps 300

Writes 32 x 32 images in ten class folders to a temporary folder, times ``pyrogen.load``, and compares the training rate
of ``vae`` and ``dcgan`` with that on the same images in a ``.npy`` file. The steps of the two runs alternate, so that
other load on the machine slows both, and the rates are those of the median step.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import pyrogen
from pyrogen.data import Dataset, from_folder
from pyrogen.recipes import recipe

BATCH, SIDE, CLASSES = 128, 32, 10
WARM_UP = 10


def write(folder: Path, images: int) -> None:
    """Smooth random colours, which compress about as photographs do."""
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for i in range(images):
        few = Image.fromarray(draws.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = few.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"class{i % CLASSES}" / f"{i:06d}.jpg", quality=90)


def rates(model: str, sources: dict[str, Dataset], steps: int) -> dict[str, float]:
    """Images per second in the median training step on each source, whose runs alternate."""
    runs = {
        name: pyrogen.fit(recipe(model)(data, batch_size=BATCH).step, data.train, steps=steps, batch_size=BATCH)
        for name, data in sources.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(steps):
        for name, run in runs.items():
            start = time.perf_counter()
            next(run)
            seconds[name].append(time.perf_counter() - start)
    return {name: BATCH / median(times[WARM_UP:]) for name, times in seconds.items()}


def main() -> None:
    """Print the time of loading and the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--models", nargs="*", default=["vae", "dcgan"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        write(folder, given.images)
        start = time.perf_counter()
        pictures = pyrogen.load(folder)
        print(f"load: {given.images} files in {time.perf_counter() - start:.1f} s")
        np.save(Path(name) / "images.npy", np.asarray(from_folder(folder).x))
        array = pyrogen.load(Path(name) / "images.npy")
        for model in given.models:
            rate = rates(model, {"folder": pictures, "array": array}, given.steps)
            shown = f"{rate['folder']:.0f} images/s from the folder, {rate['array']:.0f} from an array"
            print(f"{model}: {shown}: {rate['folder'] / rate['array']:.1%}")


if __name__ == "__main__":
    main()
