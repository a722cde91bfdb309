"""How long do the bootstraps of a large report take?

    python -m benchmarks.resampling

times 10,000 resamples of 20 seeds x 60 cases for 200 contrasts with the percentile and
the studentised interval, and a plain loop that draws and averages one resample after
another for as many contrasts as `--loop` says, interleaved round by round.
"""

import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from benchmarks._flags import parser
from slicebench.statistics import bootstrap_interval, studentised_interval

_FLAGS = flags.FlagValues()


def _integer(name: str, default: int, help_text: str) -> flags.FlagHolder[int]:
    return flags.DEFINE_integer(
        name, default, help_text, lower_bound=1, flag_values=_FLAGS
    )


_CONTRASTS = _integer("contrasts", 200, "Contrasts of the report.")
_RESAMPLES = _integer("resamples", 10_000, "Resamples of each.")
_LOOP = _integer("loop", 2, "Contrasts that the plain loop does in each round.")
_ROUNDS = _integer("rounds", 3, "Rounds; the contrasts are shared out among them.")

SEEDS, CASES = 20, 60


def plain_interval(
    matrix: np.ndarray, resamples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Returns the crossed percentile interval, one resample after another."""
    seeds, cases = matrix.shape
    means = np.empty(resamples)
    for index in range(resamples):
        rows = generator.integers(0, seeds, seeds)
        columns = generator.integers(0, cases, cases)
        means[index] = matrix[rows][:, columns].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _timed(function: Callable[[np.ndarray], object], matrices: np.ndarray) -> float:
    start = time.perf_counter()
    for matrix in matrices:
        function(matrix)
    return (time.perf_counter() - start) / len(matrices)


def main(_: list[str]) -> None:
    """Times the three ways and prints seconds, totals and ratios."""
    resamples = _RESAMPLES.value
    rng = np.random.default_rng(0)
    shape = (_CONTRASTS.value, SEEDS, CASES)
    matrices = rng.normal(0.01, 0.03, shape) + rng.normal(0, 0.01, (*shape[:2], 1))
    settings = {"level": 0.95, "resamples": resamples, "generator": rng}
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "percentile": lambda m: bootstrap_interval([m], **settings),
        "studentised": lambda m: studentised_interval([m], **settings),
        "plain loop, percentile": lambda m: plain_interval(m, resamples, rng),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for part in np.array_split(matrices, _ROUNDS.value):
        for name, way in ways.items():
            few = part[: _LOOP.value] if name.startswith("plain") else part
            seconds[name].append(_timed(way, few))
    print(f"{resamples} resamples of {SEEDS} seeds x {CASES} cases")
    print("| way | seconds a contrast | seconds for all | plain loop / way |")
    print("|---|---|---|---|")
    loop = float(np.median(seconds["plain loop, percentile"]))
    for name, each in seconds.items():
        middle = float(np.median(each))
        total = middle * _CONTRASTS.value
        print(f"| {name} | {middle:.4f} | {total:.1f} | {loop / middle:.1f} |")


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
