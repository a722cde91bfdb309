"""What the results support, and how sure.

Planned contrasts, paired by seed and case, become estimates with intervals,
p values adjusted in families, and verdicts. NumPy, SciPy and pandas only: a
report can be rebuilt anywhere.
"""

from slicebench.statistics._cases import case_means, case_scores
from slicebench.statistics._cells import (
    CEILING,
    best_allocation,
    cell_table,
    split_false_positives,
    unite_ceilings,
)
from slicebench.statistics._components import (
    CrossedComponents,
    crossed_components,
    variance_table,
)
from slicebench.statistics._effects import (
    LOWER_IS_BETTER,
    effective_cases,
    mean_over_classes,
)
from slicebench.statistics._evaluate import evaluate, families
from slicebench.statistics._index import ScoreIndex
from slicebench.statistics._intervals import (
    Components,
    Estimate,
    bootstrap_interval,
    estimate_mean,
    resample,
    studentised_interval,
    variance_components,
)
from slicebench.statistics._law import AnnotationLaw, fit_law
from slicebench.statistics._looks import power_by_look
from slicebench.statistics._margins import (
    FIXED_MARGINS,
    Margin,
    development_margin,
    slices_saved,
)
from slicebench.statistics._overlap import (
    CHOICE_FACTORS,
    IDENTICAL,
    MOST_COVERAGE,
    contrast_overlaps,
    expected_jaccard,
    overlap_matrix,
)
from slicebench.statistics._pooling import (
    FEW_TASKS,
    Pooled,
    pool_contrasts,
    random_effects,
)
from slicebench.statistics._power import (
    cases_needed,
    expected_error,
    power,
    resolvable,
    seeds_needed,
)
from slicebench.statistics._randomisation import sign_flip, wilcoxon
from slicebench.statistics._ranking import (
    Friedman,
    Ranking,
    friedman,
    interquartile_mean,
    probability_of_improvement,
    rank_distribution,
    rank_strategies,
)
from slicebench.statistics._replay import LOOKS_FILE, overall_state, replay_looks
from slicebench.statistics._strata import strata_means
from slicebench.statistics._stream import read_index
from slicebench.statistics._summary import summarise, summarise_tables, write_summary
from slicebench.statistics._verdicts import VERDICTS, decide, holm

__all__ = [
    "CEILING",
    "CHOICE_FACTORS",
    "FEW_TASKS",
    "FIXED_MARGINS",
    "IDENTICAL",
    "LOOKS_FILE",
    "LOWER_IS_BETTER",
    "MOST_COVERAGE",
    "VERDICTS",
    "AnnotationLaw",
    "Components",
    "CrossedComponents",
    "Estimate",
    "Friedman",
    "Margin",
    "Pooled",
    "Ranking",
    "ScoreIndex",
    "best_allocation",
    "bootstrap_interval",
    "case_means",
    "case_scores",
    "cases_needed",
    "cell_table",
    "contrast_overlaps",
    "crossed_components",
    "decide",
    "development_margin",
    "effective_cases",
    "estimate_mean",
    "evaluate",
    "expected_error",
    "expected_jaccard",
    "families",
    "fit_law",
    "friedman",
    "holm",
    "interquartile_mean",
    "mean_over_classes",
    "overall_state",
    "overlap_matrix",
    "pool_contrasts",
    "power",
    "power_by_look",
    "probability_of_improvement",
    "random_effects",
    "rank_distribution",
    "rank_strategies",
    "read_index",
    "replay_looks",
    "resample",
    "resolvable",
    "seeds_needed",
    "sign_flip",
    "slices_saved",
    "split_false_positives",
    "strata_means",
    "studentised_interval",
    "summarise",
    "summarise_tables",
    "unite_ceilings",
    "variance_components",
    "variance_table",
    "wilcoxon",
    "write_summary",
]
