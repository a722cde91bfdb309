"""After how many seeds a run is looked at."""

import logging

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.options import Options

_log = logging.getLogger(__name__)

LOOKS = (8, 16, 32)
"""Seeds of a cell at each look."""

SMOKE_LOOKS = (2, 3, 4)


def plan_looks(experiment: spec.Experiment, options: Options) -> tuple[int, ...]:
    """Returns the seeds of every look; empty without --stop_when_decided.

    Args:
      experiment: With the flags laid over it.
      options: What was asked for; --num_seeds caps the looks only where it is given.

    Raises:
      InputError: Nothing could be decided, or a look could not be taken.
    """
    if not options.stop_when_decided:
        return ()
    if not any(contrast.primary for contrast in experiment.contrasts):
        raise InputError(
            f"--stop_when_decided: experiment {experiment.name} has no primary "
            "contrast that could be decided"
        )
    if experiment.training_seeds is not None:
        raise InputError(
            f"--stop_when_decided: experiment {experiment.name} trains each selection "
            "from several seeds; only experiments whose seed sets both can be looked at"
        )
    planned = SMOKE_LOOKS if options.smoke else LOOKS
    cap = options.overrides.num_seeds
    if cap is None:
        return planned
    if cap < 2:
        raise InputError(
            f"--num_seeds={cap}: 2 or more are allowed with --stop_when_decided"
        )
    if cap > planned[-1]:
        _log.warning(
            "--num_seeds=%d: the last look is at %d seeds, no more are trained",
            cap,
            planned[-1],
        )
    last = min(cap, planned[-1])
    return (*(seeds for seeds in planned if seeds < last), last)


def reachable_looks(looks: tuple[int, ...], folds: int, task: str) -> tuple[int, ...]:
    """Returns the looks at which every fold has the same number of seeds.

    They are the nearest multiples of the number of folds, at least two seeds a fold;
    the last one does not exceed the planned number unless it must.

    Args:
      looks: Planned seeds, growing.
      folds: Outer folds of the task.
      task: Its name.

    >>> reachable_looks((8, 16, 32), 1, "organ"), reachable_looks((8, 20), 5, "organ")
    ((8, 16, 32), (10, 20))
    """
    if folds == 1 or not looks:
        return looks
    most = max(2, looks[-1] // folds)
    nearest = {min(max(2, round(seeds / folds)), most) * folds for seeds in looks}
    found = tuple(sorted(nearest))
    if found != looks:
        _log.warning(
            "task %s has %d folds: looks after %s seeds instead of %s",
            task,
            folds,
            ", ".join(map(str, found)),
            ", ".join(map(str, looks)),
        )
    return found
