"""One plan: scans in, test patients and chosen slices out."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slicebench import spec
from slicebench.data.phantom_measures import slice_features
from slicebench.data.scans import ScanFolder, find_scans
from slicebench.data.volumes import Scan
from slicebench.errors import InputError
from slicebench.planning import prevalence
from slicebench.planning.bids import find_bids, holds_bids
from slicebench.planning.choose import Choice, choose, prepare, reserve
from slicebench.planning.cluster import DepthCorrelation, depth_correlation
from slicebench.planning.costs import Costs
from slicebench.planning.dicom import Converted
from slicebench.planning.evidence import Evidence, Traits, nearest
from slicebench.planning.flips import Flip, flips
from slicebench.planning.precision import Precision, precisions, spreads
from slicebench.planning.prevalence import Expected, Structure
from slicebench.planning.recommend import Recommendation, recommend, without_evidence
from slicebench.planning.rounds import (
    Round,
    read_rounds,
    same_scans,
    same_test,
    slices_done,
    with_groups,
)
from slicebench.planning.worklist import Row, make_rows
from slicebench.selection import load_strata_file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks for; fields are the flags of the command line.

    Attributes:
      images: Folder of scans.
      budget: Slices to annotate; None where minutes are given.
      minutes: Annotator's time; None where a budget is given.
      slices_per_volume: Slices of a volume; None takes the recommendation.
      strategy: Slice strategy.
      volume_strategy: Volume strategy.
      features: Slice features for strategies that use them.
      test_patients: Patients kept for a dense test set.
      groups: FILE or FILE:COLUMN with the patient of each case; None where each case
        is a patient.
      classes: Names of the structures.
      channels: Channel names; None takes dataset.json's.
      slice_axis: Stored axis that runs over slices; None finds it.
      dims: Networks that will be trained, `2d` or `3d`.
      seed: Seed of every draw.
      series: Part of the description of DICOM series that are meant; None takes all.
      exclude: Folders of plans whose slices are not to be chosen again, first to last.
      structures: How often structures are expected; none where nothing was said.
      theory: Whether to set two-stage sampling beside the evidence; reads up to 12
        scans.
      bids_filter: Keys and values that choose images of a BIDS dataset.
    """

    images: Path
    budget: int | None = None
    minutes: float | None = None
    slices_per_volume: int | None = None
    strategy: str = "stratified"
    volume_strategy: str = "random"
    features: str = "intensity"
    test_patients: int = 10
    groups: str | None = None
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    slice_axis: int | None = None
    dims: str = "2d"
    seed: int = 0
    series: str | None = None
    exclude: tuple[Path, ...] = ()
    structures: tuple[Structure, ...] = ()
    theory: bool = True
    bids_filter: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be annotated.

    Attributes:
      request: What was asked for.
      folder: The scans.
      test: Scans to be labelled densely and never trained on.
      pool: Scans that may be annotated.
      budget: Slices to annotate.
      choices: Chosen slices in the order of work.
      rows: The worklist.
      recommendation: Allocation and reasons.
      evidence: Task that it rests on; None where none is near.
      factors: By which factor that task differs, trait by trait.
      flips: Best density over the price of a volume.
      expected: What the chosen slices will meet of each structure.
      precision: Test sets of several sizes.
      costs: What annotation costs.
      earlier: Rounds before this one, newest first.
      converted: Whether `folder` was made from DICOM and belongs to the plan.
    """

    request: Request
    folder: ScanFolder
    test: tuple[Scan, ...]
    pool: tuple[Scan, ...]
    budget: int
    choices: tuple[Choice, ...]
    rows: tuple[Row, ...]
    recommendation: Recommendation
    evidence: Evidence | None
    factors: dict[str, float]
    flips: tuple[Flip, ...]
    expected: tuple[Expected, ...]
    precision: tuple[Precision, ...]
    costs: Costs
    earlier: tuple[Round, ...] = ()
    converted: bool = False

    @property
    def total(self) -> int:
        """Slices of all rounds together."""
        before = {row for one in self.earlier for row in one.rows}
        return self.budget + len(before)

    @property
    def minutes(self) -> float:
        """Expected minutes of the worklist."""
        return sum(row.minutes for row in self.rows)

    @property
    def test_minutes(self) -> float:
        """Expected minutes of the dense test set."""
        return sum(
            sum(self.costs.of_slices(range(scan.shape[0]))) for scan in self.test
        )


def make_plan(
    request: Request,
    table: Sequence[Evidence],
    costs: Costs,
    *,
    converted: Converted | None = None,
) -> Plan:
    """Reads the scans, keeps test patients apart and chooses slices.

    Args:
      request: What is asked for.
      table: Evidence to rest on.
      costs: What annotation costs.
      converted: The scans, where `request.images` holds DICOM.

    Raises:
      InputError: Whatever is wrong with scans, flags or budget.
    """
    _check(request)
    earlier = read_rounds(request.exclude)
    folder = _scans(request, converted)
    if request.groups is not None:
        folder = _grouped(folder, request.groups)
    elif converted:
        folder = with_groups(folder, converted.groups)
    if earlier:
        folder = same_scans(folder, earlier[0], keep_groups=request.groups is not None)
        test, pool = same_test(folder.scans, earlier[0])
    else:
        test, pool = reserve(folder.scans, request.test_patients, request.seed)
    had = slices_done(pool, earlier)
    done = sum(len(slices) for slices in had)
    found = nearest(traits_of(pool, request, costs), table, request.dims)
    evidence, factors = found or (None, {})
    budget = request.budget
    if budget is None:
        budget = _affordable(request, evidence, len(pool), costs, done)
    advice = _advice(evidence, budget + done, len(pool), costs)
    each = request.slices_per_volume or advice.slices_per_volume
    choices = choose(
        folder,
        pool,
        budget=budget,
        slices_per_volume=each,
        strategy=request.strategy,
        volume_strategy=request.volume_strategy,
        features=request.features,
        seed=request.seed,
        had=had,
    )
    likely = [one for one in table if one.dims == request.dims]
    return Plan(
        request=request,
        folder=folder,
        test=test,
        pool=pool,
        budget=budget,
        choices=choices,
        rows=make_rows(folder.folder, choices, request.strategy, costs),
        recommendation=advice,
        evidence=evidence,
        factors=factors,
        flips=_flips(request, evidence, folder, pool, budget, each, costs),
        expected=prevalence.expect(request.structures, choices, request.strategy),
        precision=precisions(
            folder.scans,
            len({scan.group for scan in test}),
            costs,
            spreads(evidence, likely, each),
        ),
        costs=costs,
        earlier=earlier,
        converted=converted is not None,
    )


def _scans(request: Request, converted: Converted | None) -> ScanFolder:
    axis, channels = request.slice_axis, request.channels
    if converted is None and holds_bids(request.images):
        return find_bids(
            request.images,
            dict(request.bids_filter),
            slice_axis=axis,
            channels=channels,
        )
    if request.bids_filter:
        raise InputError(
            f"--bids_filter: {request.images} is no BIDS dataset (folders sub-...)"
        )
    return find_scans(
        converted.folder if converted else request.images,
        slice_axis=axis,
        channels=channels,
    )


def _flips(
    request: Request,
    evidence: Evidence | None,
    folder: ScanFolder,
    pool: Sequence[Scan],
    budget: int,
    slices_per_volume: int,
    costs: Costs,
) -> tuple[Flip, ...]:
    """Returns how the answer turns with prices; nothing without evidence."""
    if evidence is None:
        return ()
    volumes = math.ceil(budget / slices_per_volume)
    spent = costs.of_allocation(volumes, budget / volumes)
    return flips(
        evidence,
        request.minutes or spent,
        costs,
        budget=budget,
        pool=len(pool),
        correlation=correlation_of(folder, pool, request.seed)
        if request.theory
        else None,
        depth=int(np.median([scan.shape[0] for scan in pool])),
    )


def correlation_of(
    folder: ScanFolder, pool: Sequence[Scan], seed: int
) -> DepthCorrelation | None:
    """Estimates the correlation of slices from unlabelled scans alone.

    Block means of slices as networks see them, of up to 12 volumes of a seeded draw.

    Args:
      folder: Where the pool comes from.
      pool: Volumes that may be annotated.
      seed: Seed of the draw.

    Returns:
      The correlation; None where there are fewer than three volumes.
    """
    deep = [scan for scan in pool if scan.shape[0] > 1]
    rng = np.random.default_rng(spec.derive_seed(seed, "correlation of slices"))
    drawn = sorted(rng.permutation(len(deep))[:_MOST_READ])
    if len(drawn) < _FEWEST_READ:
        return None
    cases = prepare(folder, [deep[number] for number in drawn])
    features = [
        np.concatenate(
            [slice_features(channel) for channel in np.moveaxis(case.image, -1, 0)],
            axis=1,
        ).astype(float)
        for case in cases
    ]
    return depth_correlation(features, [case.spacing[0] for case in cases], seed=seed)


_MOST_READ, _FEWEST_READ = 12, 3


def _advice(
    evidence: Evidence | None, budget: int, pool: int, costs: Costs
) -> Recommendation:
    """Returns the allocation of all slices, those of earlier rounds among them."""
    if evidence is None:
        return without_evidence(budget, pool)
    return recommend(evidence, budget, pool, costs)


def _check(request: Request) -> None:
    if (request.budget is None) == (request.minutes is None):
        raise InputError(
            f"--budget={request.budget} and --minutes={request.minutes}: give one of "
            "them"
        )
    for flag in ("budget", "minutes", "slices_per_volume"):
        value = getattr(request, flag)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{flag}={value}: a number above 0 is allowed")


def _grouped(folder: ScanFolder, groups: str) -> ScanFolder:
    path, _, column = groups.partition(":")
    names = [scan.name for scan in folder.scans]
    patients = load_strata_file(path, column or None, names)
    return with_groups(folder, dict(zip(names, patients, strict=True)))


def traits_of(pool: Sequence[Scan], request: Request, costs: Costs) -> Traits:
    """Returns what decides which task is nearest."""
    depth, height, width = np.median([scan.spacing for scan in pool], axis=0)
    return Traits(
        spacing=(float(depth), float(height), float(width)),
        slices=float(np.median([scan.shape[0] for scan in pool])),
        num_classes=len(request.classes) or None,
        prevalence=costs.prevalence if costs.prevalence < 1 else None,
    )


def _affordable(
    request: Request, evidence: Evidence | None, pool: int, costs: Costs, done: int
) -> int:
    """Returns the slices that a time buys, at the density that is recommended."""
    minutes = request.minutes or 0.0
    each = request.slices_per_volume
    if each is None:
        # Density and number of slices depend on each other: a few rounds settle it.
        each = 1
        for _ in range(_ROUNDS):
            budget = max(1, costs.affordable(minutes, each))
            advice = _advice(evidence, budget + done, pool, costs)
            if advice.slices_per_volume == each:
                break
            each = advice.slices_per_volume
    budget = costs.affordable(minutes, each)
    if budget < 1:
        raise InputError(
            f"--minutes={minutes:g}: one slice of one volume takes "
            f"{costs.volume + costs.slice:.1f}"
        )
    return budget


_ROUNDS = 8
