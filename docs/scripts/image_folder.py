"""Loading a folder of small JPEG files, and training from it beside training from an array.

    python docs/scripts/image_folder.py --images 60000 --steps 300

Writes 32 x 32 images in ten class folders to a temporary folder, times ``pyrogen.load``, and compares the training rate
of ``vae`` and ``dcgan`` with that on the same images in a ``.npy`` file. The rates are medians of ``--rounds``
rounds in which the two sources alternate.
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
WARM_UP = 20


def write(folder: Path, images: int) -> None:
    """Smooth random colours, which compress about as photographs do."""
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for i in range(images):
        few = Image.fromarray(draws.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = few.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"class{i % CLASSES}" / f"{i:06d}.jpg", quality=90)


def rate(step: object, data: Dataset, steps: int, seed: int) -> float:
    """Images per second over ``steps`` training steps."""
    start = time.perf_counter()
    for _ in pyrogen.fit(step, data.train, steps=steps, batch_size=BATCH, seed=seed):  # type: ignore[arg-type]
        pass
    return steps * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Print the time of loading and the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
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
            sources = {"folder": pictures, "array": array}
            steps = {source: recipe(model)(data, batch_size=BATCH).step for source, data in sources.items()}
            rates: dict[str, list[float]] = {source: [] for source in sources}
            for seed in range(given.rounds + 1):
                for source, data in sources.items():
                    rates[source].append(rate(steps[source], data, given.steps if seed else WARM_UP, seed))
            folder_rate, array_rate = median(rates["folder"][1:]), median(rates["array"][1:])
            shown = f"{folder_rate:.0f} images/s from the folder, {array_rate:.0f} from an array"
            print(f"{model}: {shown}: {folder_rate / array_rate:.1%}")


if __name__ == "__main__":
    main()
