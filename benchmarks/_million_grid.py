"""A grid of allocations, strategies, interpolations and networks for tiny phantoms."""

from experiments import paper_grid
from slicebench.spec import Experiment, Network, Training


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the grid; the number of seeds is laid over it by a flag.

    Args:
      smoke: Makes phantoms small and leaves the grid as it is.
    """
    del smoke
    grid = paper_grid.get_experiment()
    return Experiment(
        name="million",
        question="Does a run of very many trials fit in memory?",
        tasks=grid.tasks,
        budgets=(4, 8, 12, 16, 24, 32),
        slices_per_volume=(1, 2, 4),
        strategies=grid.strategies,
        interpolations=grid.interpolations,
        dims=grid.dims,
        network=Network(width=4, depth=2),
        training=Training(steps=100, batch=4),
        ceiling_seeds=2,
        contrasts=grid.contrasts,
    )
