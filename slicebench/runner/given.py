"""A study of one question: what do networks reach on the slices that are there?"""

import dataclasses

from slicebench import spec
from slicebench.data.prepared import PreparedTask
from slicebench.runner.inputs import Inputs
from slicebench.runner.programs import make_program
from slicebench.runner.study import Study, make_trial

GIVEN = "annotated"
"""Strategy name of slices that an annotator has done, whoever chose them."""


def given_study(
    task: PreparedTask,
    given: tuple[tuple[int, ...], ...],
    *,
    name: str,
    dims: spec.Dims,
    num_seeds: int,
    network: spec.Network,
    training: spec.Training,
) -> Study:
    """Returns a study whose trials differ in luck alone.

    Args:
      task: The task; its pool holds the annotated volumes.
      given: Annotated slices of each case of the pool.
      name: Name of the experiment.
      dims: Network.
      num_seeds: Networks that are trained.
      network: Architecture.
      training: Schedule.

    Raises:
      InputError: Network or training do not fit the task.
    """
    budget, each = sum(map(len, given)), {len(slices) for slices in given}
    density = each.pop() if len(each) == 1 else None
    experiment = spec.Experiment(
        name=name,
        question="What do networks reach on the slices that are annotated?",
        tasks=(task.name,),
        budgets=(budget,),
        slices_per_volume=() if density is None else (density,),
        strategies=(GIVEN,),
        volume_strategies=(GIVEN,),
        features=("none",),
        dims=(dims,),
        num_seeds=num_seeds,
        network=network,
        training=training,
        ceiling_seeds=0,
    )
    info = dataclasses.replace(task.info, dims=dims)
    program = make_program(task, experiment, info, steps=training.steps, slots=0)
    factors = {
        "dims": dims,
        "budget": budget,
        "num_volumes": len(given),
        "slices_per_volume": density,
        "volume_strategy": GIVEN,
        "strategy": GIVEN,
        "features": "none",
        "scope": "within",
        "interpolation": "none",
        "pseudo_weight": 0.0,
    }
    inputs = Inputs(given=given)
    return Study(
        experiment=experiment,
        tasks={(task.name, task.fold): task},
        programs={program.name: program},
        trials=tuple(
            make_trial(task, program, factors, (seed, seed), inputs)
            for seed in range(num_seeds)
        ),
        left_out=(),
        contrasts=(),
        dropped=(),
        inputs=inputs,
    )
