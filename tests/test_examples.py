"""Every example runs, and every example is listed here."""

import shutil
from pathlib import Path

import forked
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LISTED = (
    "aae.py",
    "augmentation.py",
    "bottleneck_curve.py",
    "clustering.py",
    "compare.py",
    "compression.py",
    "cvae_completion.py",
    "dcgan.py",
    "debiasing.py",
    "density_mle.py",
    "experiments.py",
    "gan.py",
    "gan_modes.py",
    "interpolation.py",
    "nuts_beside_svi.py",
    "outliers.py",
    "own_model_guide.py",
    "restoration.py",
    "semi_supervised_vae.py",
    "stacked_mnist.py",
    "table_compare.py",
    "vae.py",
    "vaegan.py",
    "wgan.py",
    "wgan_gp_mnist.py",
)
WRITES = {  # what each leaves in --out, beside which other files may lie
    "aae.py": {"codes.png", "samples.png"},
    "augmentation.py": {"samples.png", "cvae"},
    "bottleneck_curve.py": {"bottleneck.png"},
    "clustering.py": {"clusters.png", "gmvae-0", "vae"},
    "compare.py": {"report.html", "scores.json"},
    "compression.py": {"sizes.png"},
    "cvae_completion.py": {"completions.png"},
    "dcgan.py": {"samples-000020.png", "checkpoint-00000020"},
    "debiasing.py": {"heaviest.png"},
    "density_mle.py": {"mixture.png"},
    "experiments.py": {"results.json", "page.html", "maf-4-seed1"},
    "gan.py": {"samples-000100.png"},
    "gan_modes.py": {"results.json", "modes.png"},
    "interpolation.py": {"paths.png", "altered.png"},
    "nuts_beside_svi.py": {"posterior.png"},
    "outliers.py": {"strangest.png"},
    "own_model_guide.py": {"report.html", "samples.png"},
    "restoration.py": {"half.png", "blocks.png"},
    "semi_supervised_vae.py": {"analogies.png"},
    "table_compare.py": {"people.csv", "comparison"},
    "vae.py": {"samples-000060.png", "checkpoint-00000060", "best"},
    "stacked_mnist.py": {"samples-000020.png", "checkpoint-00000020"},
    "vaegan.py": {"vae-samples.png", "vaegan-samples.png"},
    "wgan.py": {"curves.png", "samples.png"},
    "wgan_gp_mnist.py": {"samples-000020.png", "checkpoint-00000020"},
}


def run(name: str, folder: Path, *options: str) -> str:
    """What the example prints; it runs in ``folder``, without a network or data of ours, and warnings are errors."""
    done = forked.run(forked.script, EXAMPLES / name, "--smoke", "--out", "out", *options, folder=folder)
    assert done.returncode == 0, f"{name}:\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", LISTED)
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    printed = run(name, tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= WRITES[name]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert printed.rstrip().splitlines()[-1].split(": ")[1].startswith("out")  # where to look


def test_every_example_is_listed() -> None:
    assert tuple(sorted(path.name for path in EXAMPLES.glob("*.py"))) == LISTED


def test_an_interrupted_vae_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = run("vae.py", tmp_path)
    shutil.rmtree(tmp_path / "out" / "checkpoint-00000060")
    first, *rest = run("vae.py", tmp_path).splitlines()
    assert first == "continuing from step 50"
    assert rest == whole.splitlines()[-len(rest) :]
    assert len(rest) > 3
