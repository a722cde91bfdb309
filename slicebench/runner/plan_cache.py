"""Keeps plans that were timed, so that a machine times a program once.

One small JSON file for each machine, program and set of versions, in the folder
`plans` of the cache folder. Files appear by one rename; what cannot be read or
used is ignored with a warning.
"""

import dataclasses
import importlib.metadata
import json
import logging
import platform
from pathlib import Path
from typing import Any

import jax

from slicebench import spec
from slicebench.data.cache import cache_folder
from slicebench.errors import InputError
from slicebench.models.convolution import LAYOUTS
from slicebench.results import write_json_atomic
from slicebench.training.engine import Plan

_log = logging.getLogger(__name__)

FORMAT = 1
"""Number of the file's layout and of the way plans are timed."""


def machine() -> dict[str, Any]:
    """Returns what makes timings comparable: devices, their number, the CPU."""
    return {
        "platform": jax.default_backend(),
        "kind": jax.local_devices()[0].device_kind,
        "count": jax.device_count(),
        "cpu": _cpu_model(),
    }


def _cpu_model() -> str:
    """The CPU's name; its family where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Returns the versions of all that compiles a program."""
    names = ("jax", "jaxlib", "slicebench")
    return {name: importlib.metadata.version(name) for name in names}


def parse_plan(program: spec.Program, found: dict[str, Any]) -> Plan:
    """Returns a plan read from JSON.

    Raises:
      ValueError: A field is missing or cannot be used by the program here.
    """
    names = [field.name for field in dataclasses.fields(Plan)]
    given = {name: found[name] for name in names if name in found}
    counts = [value for name, value in given.items() if name != "layout"]
    if not {"devices", "trials_per_device"} <= set(given):
        raise ValueError("devices and trials_per_device are needed")
    if not all(type(count) is int and count > 0 for count in counts):
        raise ValueError("counts must be whole numbers from 1")
    plan = Plan(**given)
    if plan.layout not in LAYOUTS:
        raise ValueError(f"layout {plan.layout!r} does not exist")
    if plan.devices > jax.device_count():
        raise ValueError(f"{plan.devices} devices are not there")
    if program.training.steps % plan.steps_per_call:
        raise ValueError(f"steps_per_call {plan.steps_per_call} divides no run")
    return plan


def _path(program: spec.Program) -> Path | None:
    key = spec.digest([FORMAT, machine(), versions(), program.name])
    try:
        return cache_folder() / "plans" / f"{key}.json"
    except InputError as error:
        _log.warning("plans are not kept: %s", error)
        return None


def load(program: spec.Program) -> tuple[Plan, dict[str, Any]] | None:
    """Returns the kept plan and its record; None if there is none to use."""
    path = _path(program)
    if path is None or not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
        return parse_plan(program, record["plan"]), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("kept plan %s cannot be used and is ignored (%s)", path, error)
        return None


def save(program: spec.Program, plan: Plan, candidates: list[dict[str, Any]]) -> None:
    """Keeps a plan; a folder that cannot be written costs only that."""
    path = _path(program)
    if path is None:
        return
    content = {
        "format": FORMAT,
        "program": program.name,
        "machine": machine(),
        "versions": versions(),
        "plan": dataclasses.asdict(plan),
        "candidates": candidates,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, content)
    except OSError as error:
        _log.warning("plan of program %s is not kept (%s)", program.name, error)
