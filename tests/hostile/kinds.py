"""The table of all kinds of damaged or hostile input."""

from tests.hostile import declarations, images, labels, others, plans, runs
from tests.hostile.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *images.KINDS,
        *labels.KINDS,
        *declarations.KINDS,
        *others.KINDS,
        *runs.KINDS,
        *plans.KINDS,
    )
}
"""Every kind by its name."""
COUNT = sum(
    len(part.KINDS) for part in (images, labels, declarations, others, runs, plans)
)
"""Kinds with doubles; a name that stands twice would hide one."""
