"""What compiles the trials of a task: programs, each made once."""

import dataclasses
import functools
from collections.abc import Callable

from slicebench import spec
from slicebench.data.prepared import PreparedTask
from slicebench.errors import InputError
from slicebench.models.topology import plan_volumetric
from slicebench.runner.cells import Cell
from slicebench.runner.experiments import resolve

_SLICE_STEP = 256
"""Bank sizes are padded to this, so that folds share compiled programs."""

_TRAINING_CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "decay": ("cosine", "polynomial"),
    "sampling": ("balanced", "uniform"),
}


def program_maker(
    experiment: spec.Experiment, info: spec.TaskInfo, slots: int
) -> Callable[[PreparedTask, Cell], spec.Program]:
    """Returns what makes the program of a fold and cell, each one once.

    Trials share their program's network and schedule: a million trials would hold
    as many copies otherwise.

    Args:
      experiment: Network and schedule.
      info: The task, with the dims of the programs.
      slots: Room for interpolated slices.
    """
    made: dict[tuple[int, int, bool], spec.Program] = {}

    def make(task: PreparedTask, cell: Cell) -> spec.Program:
        filled = cell.factors["interpolation"] != "none"
        key = (task.fold, cell.factors["steps"], filled)
        if key not in made:
            made[key] = make_program(
                task,
                experiment,
                info,
                steps=cell.factors["steps"],
                slots=slots if filled else 0,
            )
        return made[key]

    return make


@functools.lru_cache(maxsize=1024)
def name_of(program: spec.Program) -> str:
    """Returns the program's name, a digest that takes longer than making a trial."""
    return program.name


def make_program(
    task: PreparedTask,
    experiment: spec.Experiment,
    info: spec.TaskInfo,
    *,
    steps: int,
    slots: int,
) -> spec.Program:
    """Returns what compiles a task's trials of one number of steps.

    Raises:
      InputError: Network or training do not fit the task.
    """
    dims = info.dims
    network = resolve(experiment.network, info)
    training = _training(resolve(experiment.training, info), task)
    training = dataclasses.replace(training, steps=steps)
    lowest = 2 ** (network.depth - 1)
    if dims == "2d" and any(side % lowest for side in task.grid):
        raise InputError(
            f"network depth {network.depth}: the grid {task.grid} of task {task.name} "
            f"must divide by {lowest}"
        )
    slices = sum(case.depth for case in task.pool)
    return spec.Program(
        dims=dims,
        network=network,
        training=training,
        grid=task.grid,
        channels=len(task.channels),
        classes=len(task.classes) + 1,
        slices=-(-slices // _SLICE_STEP) * _SLICE_STEP,
        precision=experiment.precision,
        volumetric=None
        if dims == "2d"
        else plan_volumetric(
            network, training.patch, task.grid, info.median_slices, info.spacing
        ),
        pseudo_slots=slots,
    )


def _training(training: spec.Training, task: PreparedTask) -> spec.Training:
    """Allows mirroring only where the task does; checks what is chosen by name.

    Raises:
      InputError: An optimiser, decay or sampling that does not exist.
    """
    for name, allowed in _TRAINING_CHOICES.items():
        given = getattr(training, name)
        if given not in allowed:
            raise InputError(
                f"training of task {task.name}: {name} {given!r} does not exist; "
                f"allowed: {', '.join(allowed)}"
            )
    flip = training.augmentation.flip and task.flip
    augmentation = dataclasses.replace(training.augmentation, flip=flip)
    if flip and task.mirror_axis:
        augmentation = dataclasses.replace(augmentation, flip_axis=task.mirror_axis)
    return dataclasses.replace(training, augmentation=augmentation)
