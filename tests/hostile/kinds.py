"""The table of all kinds of damaged or hostile input."""

from tests.hostile import declarations, images, others, runs
from tests.hostile.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *images.KINDS,
        *declarations.KINDS,
        *others.KINDS,
        *runs.KINDS,
    )
}
"""Every kind by its name."""
COUNT = sum(len(part.KINDS) for part in (images, declarations, others, runs))
"""Kinds with doubles; a name that stands twice would hide one."""
