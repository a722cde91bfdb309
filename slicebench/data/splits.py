"""Splits by patient into development, pool and test cases.

A split depends on the dataset's patients and the split seed only. Patients are
put in order by a hash of seed and name, so that neither the order of files nor
the version of a random generator matters.
"""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from slicebench import errors, spec

MIN_PATIENTS = 9
"""Three development, three pool and three test patients."""
_FEWEST = 3
_ONE_SPLIT = 150
_FOLDS = 5
_DEVELOPMENT = 0.1
_TEST = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Case names of the three sides, each sorted.

    Attributes:
      development: Cases on which settings and margins are chosen.
      pool: Cases that may be selected and annotated.
      test: Cases that are scored once for each committed setting.
      num_folds: How many outer folds the split is one of.
    """

    development: tuple[str, ...]
    pool: tuple[str, ...]
    test: tuple[str, ...]
    num_folds: int = 1

    @property
    def sides(self) -> dict[str, tuple[str, ...]]:
        """Case names by side."""
        return {
            "development": self.development,
            "pool": self.pool,
            "test": self.test,
        }


def num_folds_for(num_patients: int) -> int:
    """Returns the number of outer folds: 1 from 150 patients on, else up to 5.

    Each fold's test part holds at least three patients, so that fewer than 15
    patients get fewer folds.

    >>> num_folds_for(260), num_folds_for(100), num_folds_for(10)
    (1, 5, 3)
    """
    if num_patients >= _ONE_SPLIT:
        return 1
    return max(1, min(_FOLDS, num_patients // _FEWEST))


def make_split(
    cases: Sequence[str],
    groups: Sequence[str],
    seed: int,
    fold: int = 0,
    num_folds: int | None = None,
) -> Split:
    """Splits cases by patient into about 10 % development, 60 % pool, 30 % test.

    With several outer folds the test part rotates: every patient is in exactly
    one fold's test part (a share of 1 / num_folds), about 10 % of the cases
    are drawn from the rest for development, and what is left is the pool.

    Args:
      cases: Case names.
      groups: Patient of each case.
      seed: Split seed.
      fold: Which outer fold, from 0.
      num_folds: Number of outer folds; None takes `num_folds_for`.

    Raises:
      InputError: Too few patients, or a fold that does not exist.
    """
    members: dict[str, list[str]] = {}
    for case, group in zip(cases, groups, strict=True):
        members.setdefault(group, []).append(case)
    if len(members) < MIN_PATIENTS:
        raise errors.InputError(
            f"{len(members)} patients; a split needs {MIN_PATIENTS} or more: three "
            "each for development, pool and test"
        )
    if num_folds is None:
        num_folds = num_folds_for(len(members))
    check_fold(fold, num_folds)
    order = sorted(members, key=lambda group: spec.derive_seed(seed, "split", group))
    if num_folds == 1:
        test = _take(order, members, _TEST * len(cases))
        rest = order[len(test) :]
    else:
        test = order[fold::num_folds]
        # The fold after this one comes first: development rotates as well.
        rest = [
            group
            for step in range(1, num_folds)
            for group in order[(fold + step) % num_folds :: num_folds]
        ]
    development = _take(rest, members, _DEVELOPMENT * len(cases))
    pool = rest[len(development) :]
    if min(len(test), len(pool)) < _FEWEST:
        raise errors.InputError(
            f"{len(members)} patients with {len(cases)} cases leave {len(pool)} "
            f"patients in the pool and {len(test)} in the test part of fold {fold} of "
            f"{num_folds}; each needs {_FEWEST}"
        )
    sides = [
        sorted(case for g in side for case in members[g])
        for side in (development, pool, test)
    ]
    return Split(
        development=tuple(sides[0]),
        pool=tuple(sides[1]),
        test=tuple(sides[2]),
        num_folds=num_folds,
    )


def split_from_file(
    path: str | pathlib.Path,
    cases: Sequence[str],
    groups: Sequence[str],
    seed: int,
    fold: int = 0,
) -> Split:
    """Reads a user's `splits_final.json` (nnU-Net: a list of {train, val}).

    `val` becomes the test part; development cases are drawn by patient from
    `train` (about 10 % of all, at least three patients), the rest is the pool.
    Cases that the fold does not name are left out.

    Args:
      path: The file.
      cases: Case names of the dataset.
      groups: Patient of each case.
      seed: Split seed, for development cases.
      fold: Which entry of the list.

    Raises:
      InputError: Unreadable file, missing fold, unknown or repeated case
        names, a patient on two sides, or too few patients on a side.
    """
    entries = _load_entries(pathlib.Path(path))
    check_fold(fold, len(entries))
    train, val = entries[fold]["train"], entries[fold]["val"]
    group_of = dict(zip(cases, groups, strict=True))
    unknown = sorted({*train, *val} - group_of.keys())
    faults = [f"fold {fold} names unknown case {case}" for case in unknown]
    faults += [
        f"fold {fold}: case {case} stands more than once"
        for case, times in sorted(collections.Counter(train + val).items())
        if times > 1
    ]
    if faults:
        raise errors.gather(str(path), faults)
    members: dict[str, list[str]] = {}
    for case in train:
        members.setdefault(group_of[case], []).append(case)
    order = sorted(
        members, key=lambda group: spec.derive_seed(seed, "development", group)
    )
    development = _take(order, members, _DEVELOPMENT * (len(train) + len(val)))
    tests = {group_of[case] for case in val}
    pool = order[len(development) :]
    if min(len(pool), len(tests)) < _FEWEST:
        raise errors.InputError(
            f"{path}: fold {fold} has {len(order)} patients in `train` and "
            f"{len(tests)} in `val`; allowed are {2 * _FEWEST} or more (development "
            f"and pool) and {_FEWEST} or more"
        )
    split = Split(
        development=tuple(sorted(c for g in development for c in members[g])),
        pool=tuple(sorted(c for g in pool for c in members[g])),
        test=tuple(sorted(val)),
        num_folds=len(entries),
    )
    check_split(split, group_of, {})
    return split


def check_split(
    split: Split, groups: Mapping[str, str], voxels: Mapping[str, str]
) -> None:
    """Refuses a split with one patient, or the same voxels, on two sides.

    Args:
      split: Case names of the sides.
      groups: Patient of each case.
      voxels: Digest of each case's image voxels.

    Raises:
      InputError: Naming the cases.
    """
    faults: list[str] = []
    for what, keys, remedy in (
        ("patient", groups, "keep each patient's cases together"),
        ("image voxels", voxels, "give both one group in groups.csv, or remove one"),
    ):
        seen: dict[str, tuple[str, str]] = {}
        for side, names in split.sides.items():
            for name in names:
                if name not in keys:
                    continue
                other, other_side = seen.setdefault(keys[name], (name, side))
                if other_side != side:
                    faults.append(
                        f"same {what} on two sides: {other} ({other_side}) and {name} "
                        f"({side}); {remedy}"
                    )
    if faults:
        raise errors.gather("split", faults)


def check_fold(fold: int, num_folds: int) -> None:
    """Raises InputError where a fold does not exist."""
    if not 0 <= fold < num_folds:
        raise errors.InputError(
            f"fold {fold} does not exist; allowed are 0 to {num_folds - 1}"
        )


def _take(
    order: Sequence[str], members: Mapping[str, Sequence[str]], target: float
) -> list[str]:
    """Takes patients in order until about `target` cases, at least 3 patients."""
    wanted = max(_FEWEST, math.floor(target + 0.5))
    taken: list[str] = []
    count = 0
    for group in order:
        if count >= wanted and len(taken) >= _FEWEST:
            break
        taken.append(group)
        count += len(members[group])
    return taken


def _load_entries(path: pathlib.Path) -> list[dict[str, list[str]]]:
    entries: Any = errors.read_json_value(path, "not valid JSON:")
    sound = isinstance(entries, list) and all(
        isinstance(entry, dict)
        and all(
            isinstance(entry.get(side), list)
            and all(isinstance(case, str) for case in entry[side])
            for side in ("train", "val")
        )
        for entry in entries
    )
    if not sound or not entries:
        raise errors.InputError(
            f"{path}: expected a list of objects with `train` and `val` lists of case "
            "names, as nnU-Net's splits_final.json"
        )
    return entries
