"""Tables, figures and the HTML report of a run, from its results alone."""

from slicebench.report._build import write_report
from slicebench.report._curves import Level, budget_figure, density_figure
from slicebench.report._examples import Examples, example_figure
from slicebench.report._forest import forest_figure
from slicebench.report._maps import allocation_figure
from slicebench.report._merging import merge
from slicebench.report._overlap_map import overlap_figure
from slicebench.report._words import verdict_lines

__all__ = [
    "Examples",
    "Level",
    "allocation_figure",
    "budget_figure",
    "density_figure",
    "example_figure",
    "forest_figure",
    "merge",
    "overlap_figure",
    "verdict_lines",
    "write_report",
]
