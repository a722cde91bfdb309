"""How many annotated slices will show each structure, and the chance of none."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

from scipy.stats import hypergeom

from slicebench.errors import InputError, gather
from slicebench.planning.choose import Choice

_INDEPENDENT = "binomial"
_WITHOUT_RETURN = "hypergeometric"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Structure:
    """What is expected of one structure before anything is annotated.

    Attributes:
      name: Its name.
      share: Share of all slices of all volumes that show it.
      patients: Share of patients in whom it is there at all; not below `share`.
    """

    name: str
    share: float
    patients: float = 1.0

    @property
    def inside(self) -> float:
        """Share of slices that show it, in volumes of patients who have it."""
        return self.share / self.patients


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """What a plan will meet of one structure; the columns of structures.csv.

    Attributes:
      structure: Its name.
      share: Share of slices that show it.
      patients: Share of patients who have it.
      slices: Expected annotated slices that show it.
      volumes: Expected volumes with at least one of them.
      chance_of_none: Chance that no annotated slice shows it.
      most_chance_of_none: The same if it filled whole patients and the rest had none of
        it: as clustered as it can be.
      model: `hypergeometric` or `binomial`.
    """

    structure: str
    share: float
    patients: float
    slices: float
    volumes: float
    chance_of_none: float
    most_chance_of_none: float
    model: str


def structures(
    classes: Sequence[str],
    shares: Sequence[str],
    patients: Sequence[str] = (),
) -> tuple[Structure, ...]:
    """Reads the flags `--prevalence` and `--patients_with`.

    Args:
      classes: Names of the structures; none takes those that `shares` names.
      shares: One number for all structures, or `name=number` for each.
      patients: `name=number` for structures that some patients do not have.

    Returns:
      One entry a structure, in the order of `classes`; none without shares.

    Raises:
      InputError: With everything that is wrong.

    >>> structures(["liver", "tumour"], ["0.3"])[1].share
    0.3
    """
    if not shares:
        if patients:
            raise InputError("--patients_with: needs --prevalence of each structure")
        return ()
    if len(shares) == 1 and "=" not in shares[0]:
        names = tuple(classes) or ("structure",)
        read = dict.fromkeys(names, _number("prevalence", shares[0]))
    else:
        read = _named("prevalence", shares)
        names = tuple(classes) or tuple(read)
    having = _named("patients_with", patients)
    faults = [f"--prevalence: nothing for {name}" for name in names if name not in read]
    for flag, given in (("prevalence", read), ("patients_with", having)):
        strangers = [name for name in given if name not in names]
        faults += [
            f"--{flag}: {name} is none of {', '.join(names)}" for name in strangers
        ]
    for name in (name for name in names if name in read and name in having):
        if having[name] < read[name]:
            faults.append(
                f"--patients_with={name}={having[name]:g}: fewer patients than slices "
                f"({read[name]:g}) have it; that cannot be"
            )
    if faults:
        raise gather("--prevalence", faults)
    return tuple(
        Structure(name=name, share=read[name], patients=having.get(name, 1.0))
        for name in names
    )


def _named(flag: str, given: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in given:
        name, equals, value = part.rpartition("=")
        if not equals or not name or name in found:
            raise InputError(
                f"--{flag}={','.join(given)}: allowed is one NAME=SHARE a structure"
            )
        found[name.strip()] = _number(flag, value)
    return found


def _number(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise InputError(f"--{flag}={text}: allowed is a number above 0, up to 1")
    return value


def shown(found: Sequence[Structure]) -> tuple[float, float]:
    """Returns what the cost model asks for.

    Structures are taken to lie together: a slice that shows any of them is one that
    shows the commonest.

    Returns:
      Share of slices that show any structure, and the mean number of structures on
      these.
    """
    most = max(one.share for one in found)
    return most, sum(one.share for one in found) / most


def expect(
    found: Sequence[Structure], choices: Sequence[Choice], strategy: str
) -> tuple[Expected, ...]:
    """Returns what a plan will meet of each structure.

    Slices of a volume are not independent, so the chance is taken in two stages.
    Patients have the structure or not, each by itself. In a volume of D slices m show
    it, and k of them are chosen: without return for random slices (hypergeometric),
    `(1 - m / D)^k` for one random slice of each of k equal segments, which is the most
    that their chance of none can be wherever the m slices lie (the mean of geometric
    and arithmetic means). Where a strategy looks at images the binomial form stands for
    a choice that is blind to the structure.

    Args:
      found: Structures.
      choices: Chosen slices.
      strategy: What chose them.
    """
    model = _WITHOUT_RETURN if strategy == "random" else _INDEPENDENT
    return tuple(_expect(one, choices, model) for one in found)


def _expect(one: Structure, choices: Sequence[Choice], model: str) -> Expected:
    missed: dict[str, float] = {}
    volumes = 0.0
    for choice in choices:
        chance = none_of(choice.scan.shape[0], len(choice.slices), one.inside, model)
        volumes += one.patients * (1 - chance)
        missed[choice.scan.group] = missed.get(choice.scan.group, 1.0) * chance
    per_patient = ((1 - one.patients) + one.patients * each for each in missed.values())
    return Expected(
        structure=one.name,
        share=one.share,
        patients=one.patients,
        slices=one.share * sum(len(choice.slices) for choice in choices),
        volumes=volumes,
        chance_of_none=math.prod(per_patient),
        most_chance_of_none=(1 - one.share) ** len(missed),
        model=model,
    )


def none_of(depth: int, chosen: int, share: float, model: str) -> float:
    """Returns the chance that no chosen slice of a volume shows a structure.

    Args:
      depth: Slices of the volume.
      chosen: Chosen ones.
      share: Share of them that show it; where that is no whole number of slices, the
        two nearest are mixed.
      model: `hypergeometric` or `binomial`.

    >>> none_of(4, 2, 0.5, "hypergeometric"), none_of(4, 2, 0.5, "binomial")
    (0.16666666666666666, 0.25)
    """
    if model == _INDEPENDENT:
        return (1 - share) ** chosen
    slices = share * depth
    low = math.floor(slices)
    part = slices - low
    chances = [float(hypergeom.pmf(0, depth, m, chosen)) for m in (low, low + 1)]
    return (1 - part) * chances[0] + (part * chances[1] if part else 0.0)


def to_csv(rows: Sequence[Expected]) -> str:
    """Returns structures.csv."""
    stream = io.StringIO()
    names = [field.name for field in dataclasses.fields(Expected)]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(dataclasses.asdict(row)) for row in rows)
    return stream.getvalue()


def _rounded(row: Mapping[str, object]) -> dict[str, object]:
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in row.items()
    }


def in_words(rows: Sequence[Expected]) -> list[str]:
    """Returns a line a structure."""
    return [
        f"{row.structure}: about {row.slices:.1f} annotated slices in "
        f"{row.volumes:.1f} volumes; chance of none {_chance(row.chance_of_none)} "
        f"({row.model}), {_chance(row.most_chance_of_none)} if it filled some patients "
        "whole and the others had none"
        for row in rows
    ]


def _chance(value: float) -> str:
    return "below 0.001" if value < _SMALLEST else f"{value:.3f}"


_SMALLEST = 1e-3
