"""Finding an experiment and laying the flags over it."""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import experiments
from slicebench import spec
from slicebench.data.phantoms import PHANTOMS
from slicebench.errors import InputError
from slicebench.evaluation import METRICS
from slicebench.interpolation import INTERPOLATIONS
from slicebench.runner.options import Overrides
from slicebench.selection import FEATURES, VOLUME_STRATEGIES, strategy_names

DIMS = ("2d", "3d")
PRECISIONS = ("float32", "bfloat16")
SCOPES = ("within", "pooled")
POOLED_FROM = ("chosen", "pool")
_INNER = ("steps", "batch", "learning_rate", "dice_classes", "width", "depth")
"""Flags that change a part of the schedule or network, not an axis."""


def experiment_names() -> list[str]:
    """Returns the experiments that are shipped."""
    return sorted(m.name for m in pkgutil.iter_modules(experiments.__path__))


def load_experiment(name: str, *, smoke: bool) -> spec.Experiment:
    """Returns an experiment by its name or the path of a .py file.

    A user's file is run as code: only open files you trust.

    Raises:
      InputError: No such experiment, or a file that does not define one.
    """
    module = _open_file(Path(name)) if name.endswith(".py") else _open_shipped(name)
    make = getattr(module, "get_experiment", None)
    if not callable(make):
        raise InputError(
            f"--experiment={name}: defines no get_experiment(*, smoke=False)"
        )
    try:
        experiment = make(smoke=smoke)
    except TypeError as error:
        raise InputError(
            f"--experiment={name}: get_experiment(*, smoke=False) fails ({error})"
        ) from error
    if not isinstance(experiment, spec.Experiment):
        raise InputError(
            f"--experiment={name}: get_experiment returned "
            f"{type(experiment).__name__}, a slicebench.spec.Experiment is needed"
        )
    return experiment


def _open_shipped(name: str) -> ModuleType:
    if name not in experiment_names():
        raise InputError(
            f"--experiment={name}: no such experiment; allowed: "
            f"{', '.join(experiment_names())}, or the path of a .py file"
        )
    return importlib.import_module(f"experiments.{name}")


def _open_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"--experiment={path}: no such file")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise InputError(f"--experiment={path}: not a Python file")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        # Whatever a user's own file raises is about that file.
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"--experiment={path}: cannot be run ({reason})") from error
    return module


def override(experiment: spec.Experiment, given: Overrides) -> spec.Experiment:
    """Returns the experiment with the axes that flags give."""
    changes = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(given)
        if field.name not in _INNER and getattr(given, field.name) is not None
    }
    changes["training"] = _overridden(experiment.training, _training(given))
    changes["network"] = _overridden(experiment.network, _network(given))
    _check_names(experiment, changes)
    _check_factors(given.steps_factors)
    changed = dataclasses.replace(experiment, **changes)
    _check(changed)
    return changed


def _check_factors(factors: tuple[float, ...] | None) -> None:
    if factors is not None and 1 not in factors:
        raise InputError(
            f"--steps_factors={','.join(f'{factor:g}' for factor in factors)}: 1 must "
            "be among them; --steps sets another schedule"
        )


def _training(given: Overrides) -> dict[str, Any]:
    """Returns what flags say of the schedule."""
    steps = given.steps or ()
    if len(steps) > 1:
        raise InputError(
            f"--steps={','.join(map(str, steps))}: one value is allowed; "
            "use one work folder for each number of steps"
        )
    found: dict[str, Any] = {"steps": steps[0]} if steps else {}
    return found | _counts(given, "batch") | _objective(given)


def _objective(given: Overrides) -> dict[str, Any]:
    """Returns what flags say of the learning rate and the loss."""
    rate, classes = given.learning_rate, given.dice_classes
    if rate is not None and not 0 < rate <= 1:
        raise InputError(f"--learning_rate={rate:g}: above 0 up to 1 is allowed")
    allowed = get_args(spec.DiceClasses)
    if classes is not None and classes not in allowed:
        raise InputError(f"--dice_classes={classes}: allowed: {', '.join(allowed)}")
    found = {"learning_rate": rate, "dice_classes": classes}
    return {name: value for name, value in found.items() if value is not None}


def _network(given: Overrides) -> dict[str, int]:
    """Returns what flags say of the architecture."""
    return _counts(given, "width", "depth")


def _counts(given: Overrides, *names: str) -> dict[str, int]:
    values = {name: getattr(given, name) for name in names}
    for name, value in values.items():
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: 1 or more is allowed")
    return {name: value for name, value in values.items() if value is not None}


def _overridden(value: Any, changes: dict[str, Any]) -> Any:
    """Lays flags over a network or schedule, or over a function that makes it."""
    if not changes:
        return value
    return lambda info: dataclasses.replace(resolve(value, info), **changes)


def resolve(value: Any, info: spec.TaskInfo) -> Any:
    """Returns an axis's value for one task: its own, or the function's result."""
    return value(info) if callable(value) else value


def _check_names(experiment: spec.Experiment, changes: dict[str, Any]) -> None:
    """Refuses names that stand in no registry, a flag's or the experiment's own."""
    registries: dict[str, Iterable[str]] = {
        "tasks": PHANTOMS,
        "strategies": strategy_names(),
        "volume_strategies": VOLUME_STRATEGIES,
        "features": FEATURES,
        "scope": SCOPES,
        "pooled_from": POOLED_FROM,
        "interpolations": INTERPOLATIONS,
        "dims": DIMS,
        "precision": PRECISIONS,
    }
    for axis, allowed in registries.items():
        names = changes.get(axis, getattr(experiment, axis))
        names = [names] if isinstance(names, str) else names
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise InputError(
                f"--{axis}: no such value {unknown[0]!r}; "
                f"allowed: {', '.join(sorted(allowed))}"
            )


def _check(experiment: spec.Experiment) -> None:
    for contrast in experiment.contrasts:
        _check_contrast(contrast)
    if experiment.num_seeds < 1:
        raise InputError(f"--num_seeds={experiment.num_seeds}: 1 or more is allowed")
    if experiment.training_seeds is not None and experiment.training_seeds < 1:
        raise InputError(
            f"experiment {experiment.name}: training_seeds "
            f"{experiment.training_seeds}: 1 or more, or None, are allowed"
        )
    if experiment.ceiling_seeds < 0:
        raise InputError(
            f"--ceiling_seeds={experiment.ceiling_seeds}: 0 or more is allowed"
        )


def _check_contrast(contrast: spec.Contrast) -> None:
    factors = (*spec.CELL_FIELDS[2:], "steps_factor")
    named = [*contrast.where, *contrast.a, *contrast.b, *contrast.each]
    for what, given, allowed in (
        *(("factor", name, factors) for name in named),
        ("metric", contrast.metric, METRICS),
        ("claim", contrast.claim, get_args(spec.Claim)),
        ("kind", contrast.kind, ("difference", "slope")),
    ):
        if given not in allowed:
            raise InputError(
                f"contrast {contrast.name!r}: no such {what} {given!r}; "
                f"allowed: {', '.join(allowed)}"
            )
