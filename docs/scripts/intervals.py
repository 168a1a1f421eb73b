"""How often 95% intervals cover: MMD² of many pairs of Gaussian samples, and its standard error.

    OMP_NUM_THREADS=1 python docs/scripts/intervals.py --redraws 400

Each row is one pair of distributions: n samples N(shift, scale²) against m data N(0, 1) in d dimensions. The value that
intervals should cover is the mean over all redraws, which is unbiased.
"""

import argparse

import torch

from pyrogen.measure import mmd2

CASES = (
    (400, 400, 16, 1.3, 0.0),
    (1000, 450, 16, 1.1, 0.0),
    (400, 400, 64, 1.0, 0.1),
    (200, 200, 2, 1.0, 0.3),
    (400, 400, 16, 1.0, 0.0),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redraws", type=int, default=400)
    redraws = parser.parse_args().redraws
    print("   n    m   d  scale shift      mean   spread  reported  coverage  false alarms at .05")
    for n, m, d, scale, shift in CASES:
        draws = torch.Generator().manual_seed(0)
        values, errors, alarms = [], [], 0
        for _ in range(redraws):
            samples = scale * torch.randn(n, d, generator=draws) + shift
            score = mmd2(samples, torch.randn(m, d, generator=draws), permutations=99)
            values.append(score.value)
            errors.append(score.stderr)
            alarms += score.detail["p_value"] <= 0.05
        value, error = torch.tensor(values), torch.tensor(errors)
        covered = ((value - value.mean()).abs() < 1.96 * error).float().mean()
        false = f"{alarms / redraws:.1%}" if scale == 1 and shift == 0 else "–"
        print(
            f"{n:4d} {m:4d} {d:3d} {scale:6.1f} {shift:5.1f} {value.mean():9.5f} {value.std():8.5f} "
            f"{error.mean():9.5f} {covered:9.1%}  {false}"
        )


if __name__ == "__main__":
    main()
