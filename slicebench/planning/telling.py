"""What a plan says on the terminal."""

from slicebench.planning import flips, precision, prevalence
from slicebench.planning.plan import Plan


def lines(plan: Plan) -> list[str]:
    """Returns what the plan says, for the terminal."""
    volumes, counts = len(plan.choices), [len(c.slices) for c in plan.choices]
    each = f"{min(counts)}" if min(counts) == max(counts) else "1 or more"
    spread = each if each != "1 or more" else f"{min(counts)} to {max(counts)}"
    found = [
        f"{plan.budget} slices: {spread} of each of {volumes} volumes "
        f"({plan.request.strategy}), about {plan.minutes:.0f} min",
        f"{len(plan.test)} scans kept for testing, labelled densely: about "
        f"{plan.test_minutes:.0f} min more",
    ]
    if plan.earlier:
        found.append(_rounds(plan))
    if plan.factors:
        differs = ", ".join(f"{k} x{v:.1f}" for k, v in plan.factors.items())
        found.append(f"differs from the evidence's task by: {differs}")
    found += plan.recommendation.words
    found += prevalence.in_words(plan.expected)
    found += _extents(plan)
    found += precision.in_words(plan.precision, near=plan.evidence is not None)
    found += flips.in_words(plan.flips, plan.costs)
    return found


def _extents(plan: Plan) -> list[str]:
    """Says whether marking where structures begin and end would pay."""
    costs, marked = plan.costs, plan.costs.with_extents
    if costs.prevalence == 1:
        return []
    each = plan.recommendation.slices_per_volume
    plain = costs.affordable(plan.minutes, each) * costs.prevalence
    return [
        f"the same time buys about {plain:.0f} slices that show a structure as "
        f"planned, and {marked.affordable(plan.minutes, each)} if the first and last "
        f"slice with a structure were marked before ({costs.extent_mark:g} min a mark)"
    ]


def _rounds(plan: Plan) -> str:
    before = {row for one in plan.earlier for row in one.rows}
    opened = {case for case, _ in before}
    again = sum(choice.scan.name in opened for choice in plan.choices)
    return (
        f"round {len(plan.earlier) + 1}: {len(before)} slices of {len(opened)} volumes "
        f"were planned before; this round opens {again} of them again and "
        f"{len(plan.choices) - again} new ones; what is recommended below is for all "
        "rounds together"
    )
