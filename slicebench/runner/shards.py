"""Shares of a study for job arrays: disjoint, of about equal work."""

import heapq
import math
from collections.abc import Sequence

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.options import Options, Shard
from slicebench.runner.study import Study


def work(trial: spec.Trial, program: spec.Program) -> float:
    """Returns a trial's work in voxels x channels^2 x steps: what convolutions cost."""
    training = program.training
    voxels = training.batch * math.prod(program.patch)
    return float(trial.steps * voxels * program.network.width**2)


def share_of(
    trials: Sequence[spec.Trial], programs: dict[str, spec.Program], shard: Shard
) -> tuple[spec.Trial, ...]:
    """Returns the trials of one share, in the order of the study.

    Trials are dealt one by one, the most expensive first, each to the share with the
    least work so far (Graham, 1969: at most 4/3 of the best makespan). The deal depends
    on the study alone, not on what is finished, so that every job of an array deals
    alike.

    Raises:
      InputError: More shares than trials.
    """
    if shard.count > len(trials):
        raise InputError(
            f"--shard={shard}: the experiment has {len(trials)} trials; at most as "
            "many shares are allowed"
        )
    costs = [work(trial, programs[trial.program]) for trial in trials]
    order = sorted(range(len(trials)), key=lambda place: -costs[place])
    # Of shares with equal work the first is next, so the deal is one of a kind.
    loads = [(0.0, share) for share in range(shard.count)]
    mine: list[int] = []
    for place in order:
        load, least = loads[0]
        heapq.heapreplace(loads, (load + costs[place], least))
        if least == shard.index:
            mine.append(place)
    return tuple(trials[place] for place in sorted(mine))


def shared_trials(study: Study, options: Options) -> tuple[spec.Trial, ...]:
    """Returns what of a study this process trains: all without --shard.

    Raises:
      InputError: More shares than trials.
    """
    if options.shard is None:
        return study.trials
    return share_of(study.trials, study.programs, options.shard)
