"""How often a verdict names planted faults, and how often it names a fault in real data.

    OMP_NUM_THREADS=1 python docs/scripts/power.py --data digits --trials 100
    OMP_NUM_THREADS=1 python docs/scripts/power.py --data mnist --trials 100 --sizes 3000 1500 1000
    OMP_NUM_THREADS=1 python docs/scripts/power.py --data digits --trials 400 --null

With ``--null``, no fault is planted, and the share of p-values of at most .05 is printed for each test.

In each trial, disjoint random rows of the data set serve as training data, held-out data and samples of a perfect
model; faults are planted in these samples.
"""

import argparse
from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional as F

import pyrogen
from pyrogen.measure import Judge

COPIES, OFF, NARROW, MISSES = "copies", "off the data", "narrow", "misses part of the data"


def blurred(x: Tensor, width: float = 0.7) -> Tensor:
    """Images convolved with a Gaussian of that width in pixels."""
    kernel = torch.exp(-torch.arange(-2, 3.0).square() / (2 * width**2))
    kernel = kernel / kernel.sum()
    x = F.conv2d(x, kernel.view(1, 1, 1, 5), padding=(0, 2))
    return F.conv2d(x, kernel.view(1, 1, 5, 1), padding=(2, 0))


def noisy(x: Tensor, deviation: float, draws: torch.Generator) -> Tensor:
    """Images with Gaussian noise, clipped."""
    return (x + deviation * torch.randn(x.shape, generator=draws)).clamp(0, 1)


def moved(x: Tensor) -> Tensor:
    """Images shifted to the right by one pixel."""
    return F.pad(x, (1, 0))[..., :-1]


def planted(x: Tensor, y: Tensor, train: Tensor, draws: torch.Generator) -> dict[str, tuple[str, Tensor]]:
    """Samples with each fault, and the name that the verdict should give it first.

    Args:
        x, y: samples of a perfect model and their labels.
        train: training data, for copies.
        draws: the source of randomness.
    """
    n = len(x)
    copy = train[torch.randint(len(train), (n,), generator=draws)]

    def share(part: float, of: Tensor) -> Tensor:
        return torch.cat([of[: int(part * n)], x[: n - int(part * n)]])

    return {
        "none": ("", x),
        "noise, deviation 0.1": (OFF, noisy(x, 0.1, draws)),
        "blur, width 0.7": (OFF, blurred(x)),
        "contrast 0.9": (OFF, 0.9 * x),
        "shift by a pixel": (OFF, moved(x)),
        "2% uniform noise": (OFF, share(0.02, torch.rand(x.shape, generator=draws))),
        "half the classes": (MISSES, x[y < 5]),
        "one class missing": (MISSES, x[y != int(torch.randint(10, (), generator=draws))]),
        "ten images repeated": (NARROW, x[torch.arange(n) % 10]),
        "fifty images, noise 0.02": (NARROW, noisy(x[torch.arange(n) % 50], 0.02, draws)),
        "10% copied": (COPIES, share(0.1, copy)),
        "50% copied": (COPIES, share(0.5, copy)),
        "all copied": (COPIES, copy),
        "copies with noise 0.2": (COPIES, noisy(copy, 0.2, draws)),
        "copies at contrast 0.7": (COPIES, 0.7 * copy + 0.15),
        "copies shifted by a pixel": (COPIES, moved(copy)),
        "10% copied, noise 0.2": (COPIES, share(0.1, noisy(copy, 0.2, draws))),
    }


def print_false_alarms(args: argparse.Namespace, images: Tensor, labels: Tensor, classes: tuple[str, ...]) -> None:
    """Print how often each test has a p-value of at most .05 of samples without a fault."""
    alarms: Counter[str] = Counter()
    for trial in range(args.trials):
        draws = torch.Generator().manual_seed(args.seed + trial)
        rows = torch.randperm(len(images), generator=draws)[: sum(args.sizes)].split(list(args.sizes))
        judge = Judge(images[rows[0]], images[rows[1]], labels=labels[rows[0]], classes=classes, seed=trial)
        alarms.update({f"{t.name}, {t.space}": t.p_value <= 0.05 for t in judge(images[rows[2]]).tests})
    print("| Test | p ≤ .05 |\n|---|---|")
    for name, count in alarms.items():
        print(f"| {name} | {count / args.trials:.1%} |")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--sizes", type=int, nargs=3, default=(700, 500, 597), metavar=("TRAIN", "HELD", "SAMPLES"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--null", action="store_true", help="false alarms of each test instead")
    args = parser.parse_args()
    data = pyrogen.load(args.data, args.data_root)
    parts = [split.tensors() for split in (data.train, data.valid, data.test)]
    images, labels = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    if args.null:
        print_false_alarms(args, images, labels, data.classes)
        return
    right: Counter[str] = Counter()
    named: dict[str, Counter[str]] = {}
    faults: dict[str, str] = {}
    for trial in range(args.trials):
        draws = torch.Generator().manual_seed(args.seed + trial)
        rows = torch.randperm(len(images), generator=draws)[: sum(args.sizes)].split(list(args.sizes))
        train, held, samples = (images[part] for part in rows)
        judge = Judge(train, held, labels=labels[rows[0]], classes=data.classes, seed=trial)
        for name, (fault, x) in planted(samples, labels[rows[2]], train, draws).items():
            found = judge(x).found
            faults[name] = fault
            right[name] += (found[0] if found else "") == fault
            named.setdefault(name, Counter()).update(found)
    train_n, held_n, samples_n = args.sizes
    print(f"{args.data}: {train_n} training data, {held_n} held out, {samples_n} samples, {args.trials} trials\n")
    print("| Planted | Right name | Named rightly, first | copies | off the data | narrow | misses a part |")
    print("|---|---|---|---|---|---|---|")
    for name, fault in faults.items():
        counts = " | ".join(str(named[name][kind]) for kind in (COPIES, OFF, NARROW, MISSES))
        print(f"| {name} | {fault or 'none found'} | {right[name]} | {counts} |")


if __name__ == "__main__":
    main()
