"""Failed trials once more, for --retry_failed."""

import logging

import pyarrow.parquet as pq

from slicebench import spec
from slicebench.results import Store

_log = logging.getLogger(__name__)


def set_failed_aside(store: Store) -> int:
    """Takes failed trials out of the store, so that they are trained again.

    A part that holds failed trials is kept beside the others as `retried-part-NAME`;
    its other trials get a part of their own. A kill in between costs no row that
    training does not give again.

    Args:
      store: Of a work folder that this process holds.

    Returns:
      How many trials were taken out.
    """
    count = 0
    for path in sorted((store.workdir / "trials").glob("part-*.parquet")):
        # pyarrow ships no complete types.
        trials = pq.read_table(path).to_pylist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        kept = [row for row in trials if row["status"] == "ok"]
        if len(kept) == len(trials):
            continue
        count += len(trials) - len(kept)
        other = store.workdir / "results" / path.name
        ids = {row["trial_id"] for row in kept}
        scores = pq.read_table(other).to_pylist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        for half in (path, other):
            half.rename(half.with_name(f"retried-{half.name}"))
        if kept:
            name = spec.digest([row["trial_id"] for row in kept])
            store.append(name, kept, [row for row in scores if row["trial_id"] in ids])
    if count:
        _log.info("%d failed trials are trained again", count)
    return count
