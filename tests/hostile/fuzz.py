"""Fuzzing of every reader: sound files with damage drawn at random."""

import dataclasses
import json
import resource
import time
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from slicebench.errors import InputError
from tests.hostile.fuzz_targets import Target, make_targets

__all__ = ["LONGEST", "MOST_MEMORY", "Campaign", "fuzz", "make_targets", "peak_memory"]

LONGEST = 5.0
"""Processor seconds that one example may take."""
MOST_MEMORY = 1 << 30
"""Bytes by which all examples together may raise the process's peak memory."""


@dataclasses.dataclass
class Campaign:
    """What came of all examples of a target.

    Attributes:
      outcomes: How many were taken, refused and crashed.
      crashes: Type and message of what should not have been raised, with the input.
      longest: Most processor seconds of an example.
      examples: How many there were.
    """

    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    crashes: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)
    longest: float = 0.0

    @property
    def examples(self) -> int:
        return self.outcomes.total()

    def add(self, target: Target, damaged: bytes) -> None:
        """Reads one damaged file."""
        target.path.write_bytes(target.wrap(damaged))
        start = time.process_time()
        try:
            target.read()
        except InputError as error:
            sound = str(error).isprintable() and len(str(error)) < 10_000
            self.outcomes["refused" if sound else "unclear"] += 1
            if not sound:
                self.crashes.append((f"message {str(error)[:200]!r}", damaged))
        except Exception as error:
            self.outcomes["crashed"] += 1
            self.crashes.append((f"{type(error).__name__}: {error}"[:300], damaged))
        else:
            self.outcomes["taken"] += 1
        seconds = time.process_time() - start
        self.longest = max(self.longest, seconds)
        if seconds > LONGEST:
            self.crashes.append((f"took {seconds:.1f} s", damaged))


def peak_memory() -> int:
    """Returns the most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(target: Target, found: Campaign, examples: int, number: int | None) -> None:
    """Reads damaged files until there were so many.

    Args:
      target: Reader and sound file.
      found: Gains what came of them.
      examples: How many.
      number: Seed; None draws the same examples every time.
    """

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=number is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_damaged(target))
    def run(damaged: bytes) -> None:
        found.add(target, damaged)

    (run if number is None else seed(number)(run))()


def _damaged(target: Target) -> st.SearchStrategy[bytes]:
    ways = [_edited(target.content), _edited(target.content), st.binary(max_size=600)]
    if target.is_json:
        ways += [_exchanged(json.loads(target.content))] * 4
    return st.one_of(ways)


def _edited(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes are changed, put in, taken out, or the rest is cut off."""
    places = st.one_of(
        st.integers(0, len(content)), st.integers(0, min(len(content), 400))
    )
    edit = st.tuples(
        places,
        st.sampled_from(("set", "set", "set", "insert", "delete", "cut")),
        st.one_of(st.binary(min_size=1, max_size=8), _NUMBERS),
    )

    def apply(edits: list[tuple[int, str, bytes]]) -> bytes:
        data = content
        for at, how, new in edits:
            head, tail = data[:at], data[at:]
            if how == "set":
                data = head + new + tail[len(new) :]
            elif how == "insert":
                data = head + new + tail
            elif how == "delete":
                data = head + tail[len(new) :]
            else:
                data = head
        return data

    return st.lists(edit, min_size=1, max_size=6).map(apply)


_NUMBERS = st.sampled_from(
    [
        np.array(value, kind).tobytes()
        for value, kind in (
            (-1, "<i2"),
            (32767, "<i2"),
            (-32768, "<i2"),
            (2**31 - 1, "<i4"),
            (-(2**31), "<i4"),
            (np.nan, "<f4"),
            (np.inf, "<f4"),
            (-1e30, "<f4"),
            (1e-30, "<f4"),
            (0, "<f4"),
        )
    ]
)
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["../x", "/etc/passwd", "\0", "1" * 400, "<b>", "\ud800"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)
    ),
    max_leaves=5,
)


def _places(value: Any) -> list[tuple[Any, ...]]:
    """Returns the way to every value inside a JSON document."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:4])
    return [(), *((key, *rest) for key, inner in items for rest in _places(inner))]


def _exchanged(document: Any) -> st.SearchStrategy[bytes]:
    """A value or two become others, or are taken out."""
    change = st.tuples(
        st.sampled_from(_places(document)), st.sampled_from(("set", "drop")), _VALUES
    )

    def apply(changes: list[tuple[tuple[Any, ...], str, Any]]) -> bytes:
        whole = {"": json.loads(json.dumps(document))}
        for way, how, value in changes:
            holder: Any = whole
            *path, last = ("", *way)
            try:
                for key in path:
                    holder = holder[key]
                if how == "set":
                    holder[last] = value
                elif last != "":
                    del holder[last]
            except (LookupError, TypeError):
                continue  # an earlier change took it away
        return json.dumps(whole[""]).encode("utf-8", "surrogatepass")

    return st.lists(change, min_size=1, max_size=3).map(apply)
