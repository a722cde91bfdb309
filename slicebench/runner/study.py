"""An experiment resolved on its tasks: programs, trials and contrasts."""

import dataclasses
import functools
import logging
from collections.abc import Collection, Iterable
from typing import Any

from slicebench import spec
from slicebench.data.loading import load_task
from slicebench.data.phantoms import make_phantom
from slicebench.data.prepared import PreparedTask
from slicebench.errors import InputError
from slicebench.runner.cells import (
    AXES_THAT_FIT,
    CEILING,
    Cell,
    LeftOut,
    make_cells,
)
from slicebench.runner.contrasts import plan_contrasts
from slicebench.runner.experiments import load_experiment, override
from slicebench.runner.inputs import Inputs
from slicebench.runner.look_plan import plan_looks, reachable_looks
from slicebench.runner.options import Options
from slicebench.runner.programs import name_of, program_maker

_log = logging.getLogger(__name__)

_SLOT_STEP = 64
"""Room for interpolated slices is padded to this, for the same reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a run needs, before anything is trained.

    Attributes:
      experiment: The experiment with the flags laid over it.
      tasks: Prepared tasks, by (name, fold).
      programs: Compiled programs by name.
      trials: All trials: by program, then seed, then cell, so that an
        interrupted run has whole seeds.
      left_out: Combinations that are not trained.
      contrasts: Planned contrasts, as in experiment.json.
      dropped: Contrasts without cells.
      inputs: What selections read beyond the pool's images.
      looks: Seeds after which the contrasts of each task are looked at, by task;
        empty where all seeds are trained at once.
    """

    experiment: spec.Experiment
    tasks: dict[tuple[str, int], PreparedTask]
    programs: dict[str, spec.Program]
    trials: tuple[spec.Trial, ...]
    left_out: tuple[LeftOut, ...]
    contrasts: tuple[dict[str, Any], ...]
    dropped: tuple[dict[str, str], ...]
    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    looks: dict[str, tuple[int, ...]] = dataclasses.field(
        default_factory=dict[str, tuple[int, ...]]
    )

    def task_of(self, trial: spec.Trial) -> PreparedTask:
        """Returns the prepared task of a trial."""
        return self.tasks[trial.task, trial.fold]


def make_study(options: Options) -> Study:
    """Resolves what the command line asks for.

    Raises:
      InputError: Anything wrong with experiment, flags or data.
    """
    experiment = override(
        load_experiment(options.experiment, smoke=options.smoke), options.overrides
    )
    if options.shard is not None and options.stop_when_decided:
        raise InputError(
            f"--shard={options.shard} with --stop_when_decided: a look needs the "
            "trials of all shares; one of both is allowed"
        )
    looks = plan_looks(experiment, options)
    if looks:
        experiment = dataclasses.replace(experiment, num_seeds=looks[-1])
    given = [
        axis for axis in AXES_THAT_FIT if getattr(options.overrides, axis) is not None
    ]
    inputs = Inputs(
        feature_file=options.feature_file,
        strata_file=options.strata_file,
        folder=options.workdir / "features",
    )
    parts = [
        _resolve(experiment, folds, given, inputs, looks)
        for folds in (
            _load_real(options) if options.data else _load_phantoms(experiment, options)
        )
    ]
    names = [next(iter(part.tasks))[0] for part in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"--data: two datasets are called {twice[0]}; rename one")
    if not any(part.trials for part in parts):
        raise InputError(
            f"experiment {experiment.name}: nothing to train; --budgets with "
            "--slices_per_volume, or --ceiling_seeds of 1 or more, are needed"
        )
    inputs.check(
        [trial for part in parts for trial in part.trials],
        [task for part in parts for task in part.tasks.values()],
    )
    return Study(
        experiment=experiment,
        inputs=inputs,
        tasks={key: task for part in parts for key, task in part.tasks.items()},
        programs={n: program for part in parts for n, program in part.programs.items()},
        trials=tuple(trial for part in parts for trial in part.trials),
        left_out=tuple(item for part in parts for item in part.left_out),
        contrasts=tuple(item for part in parts for item in part.contrasts),
        dropped=tuple(item for part in parts for item in part.dropped),
        looks={name: seeds for part in parts for name, seeds in part.looks.items()},
    )


def _load_phantoms(
    experiment: spec.Experiment, options: Options
) -> list[list[PreparedTask]]:
    if (
        options.target_labels != "all"
        or options.slice_axis is not None
        or options.splits_file is not None
        or options.field_of_view is not None
        or options.ct_window is not None
    ):
        raise InputError(
            "--target_labels, --slice_axis, --splits_file, --field_of_view and "
            "--ct_window need --data: phantoms have one target, one field, no CT and "
            "a fixed split"
        )
    return [
        [make_phantom(name, seed=options.split_seed, smoke=options.smoke)]
        for name in experiment.tasks
    ]


def _load_real(options: Options) -> list[list[PreparedTask]]:
    if options.overrides.tasks is not None:
        raise InputError(
            "--tasks names phantoms, --data replaces them: give one of both"
        )
    return [_load_folds(options, str(folder)) for folder in options.data]


def _load_folds(options: Options, folder: str) -> list[PreparedTask]:
    """Loads every outer fold; datasets from 150 patients have one."""
    folds: list[PreparedTask] = []
    count = 1
    while len(folds) < count:
        task = load_task(
            folder,
            target_labels=options.target_labels,
            slice_axis=options.slice_axis,
            split_seed=options.split_seed,
            fold=len(folds),
            splits_file=options.splits_file,
            max_size=options.max_size,
            field_of_view=options.field_of_view,
            ct_window=options.ct_window,
        )
        split: Any = task.provenance["split"]
        count = 1 if options.smoke else int(split["num_folds"])
        folds.append(task)
    return folds


def _resolve(
    experiment: spec.Experiment,
    folds: list[PreparedTask],
    given: Collection[str],
    inputs: Inputs,
    looks: tuple[int, ...],
) -> Study:
    """Resolves one task; its seeds are spread over its folds in turn."""
    first = folds[0]
    looks = reachable_looks(looks, len(folds), first.name)
    if looks:
        experiment = dataclasses.replace(experiment, num_seeds=looks[-1])
    experiment = _enough_seeds(experiment, len(folds), first.name)
    info = _smallest(folds)
    total = sum(case.depth for case in first.pool)
    cells, left = make_cells(experiment, info, total_slices=total, given=given)
    contrasts, dropped = plan_contrasts(experiment, info, first.target, cells)
    programs: dict[str, spec.Program] = {}
    trials: list[spec.Trial] = []
    digest = functools.cache(inputs.digest)
    for dims in experiment.dims:
        ours = [cell for cell in cells if cell.factors["dims"] == dims]
        make = program_maker(
            experiment,
            dataclasses.replace(info, dims=dims),
            _pseudo_slots(ours, folds),
        )
        most = max((cell.seeds for cell in ours), default=0)
        for seed in range(most):
            task = folds[seed % len(folds)]
            for cell in ours:
                if seed >= cell.seeds:
                    continue
                program = make(task, cell)
                programs[name_of(program)] = program
                read = digest(cell.factors["features"], cell.factors["volume_strategy"])
                trials += [
                    make_trial(
                        task,
                        program,
                        cell.factors,
                        (seed, training),
                        inputs,
                        inputs_digest=read,
                    )
                    for training in _training_seeds(experiment, cell, seed)
                ]
    return Study(
        experiment=experiment,
        tasks={(task.name, task.fold): task for task in folds},
        programs=programs,
        trials=tuple(trials),
        left_out=tuple(left),
        contrasts=tuple(contrasts),
        dropped=tuple(dropped),
        looks={first.name: looks} if looks else {},
    )


def _enough_seeds(
    experiment: spec.Experiment, folds: int, task: str
) -> spec.Experiment:
    """Gives every fold the same number of seeds, at least two: fewer have no SD.

    The ceiling has one a fold at least, if any: it is then scored on all patients, as
    the cells are that are read against it.
    """
    if folds == 1:
        return experiment
    given = experiment.num_seeds, experiment.ceiling_seeds
    seeds = max(2, -(-given[0] // folds)) * folds
    ceiling = -(-given[1] // folds) * folds
    for what, count, asked in (
        ("seeds", seeds, given[0]),
        ("ceiling seeds", ceiling, given[1]),
    ):
        if count != asked:
            _log.warning(
                "task %s has %d folds: %d %s instead of %d, %d in each",
                task,
                folds,
                count,
                what,
                asked,
                count // folds,
            )
    return dataclasses.replace(experiment, num_seeds=seeds, ceiling_seeds=ceiling)


def _training_seeds(
    experiment: spec.Experiment, cell: Cell, seed: int
) -> Iterable[int]:
    """Returns the training seeds of a selection seed: its own, or every one.

    Where all slices are labelled nothing is selected, and a seed sets both.
    """
    if experiment.training_seeds is None or cell.factors["strategy"] == CEILING:
        return (seed,)
    return range(experiment.training_seeds)


def _smallest(folds: list[PreparedTask]) -> spec.TaskInfo:
    """What holds in every fold: cells must fit the smallest pool."""
    infos = [task.info for task in folds]
    return dataclasses.replace(
        infos[0],
        pool_volumes=min(info.pool_volumes for info in infos),
        min_slices=min(info.min_slices for info in infos),
        max_slices=max(info.max_slices for info in infos),
    )


def _pseudo_slots(cells: list[Cell], folds: list[PreparedTask]) -> int:
    """Returns room for the interpolated slices of any trial of these cells."""
    deepest = max(case.depth for task in folds for case in task.pool)
    most = max(sum(case.depth for case in task.pool) for task in folds)
    needed = max(
        (
            min(cell.factors["num_volumes"] * deepest, most)
            for cell in cells
            if cell.factors["interpolation"] != "none"
        ),
        default=0,
    )
    return -(-needed // _SLOT_STEP) * _SLOT_STEP


def make_trial(
    task: PreparedTask,
    program: spec.Program,
    factors: dict[str, Any],
    seeds: tuple[int, int],
    inputs: Inputs,
    *,
    inputs_digest: str | None = None,
) -> spec.Trial:
    """Returns the trial of a cell with its selection and its training seed.

    Args:
      task: The prepared task.
      program: What compiles it.
      factors: The cell's.
      seeds: Of selection and training.
      inputs: What selections read beyond the pool's images.
      inputs_digest: `inputs.digest` of its factors, where that is at hand.
    """
    factors = {name: value for name, value in factors.items() if name != "steps"}
    if factors["strategy"] == CEILING:
        # The ceiling's pool differs a little between folds.
        factors = {
            **factors,
            "num_volumes": len(task.pool),
            "budget": sum(case.depth for case in task.pool),
        }
    return spec.Trial(
        task=task.name,
        target=task.target,
        fold=task.fold,
        selection_seed=seeds[0],
        training_seed=seeds[1],
        network=program.network,
        training=program.training,
        program=name_of(program),
        context=task.context,
        inputs_digest=inputs_digest
        if inputs_digest is not None
        else inputs.digest(factors["features"], factors["volume_strategy"]),
        **factors,
    )
