"""A Ray cluster: found or started, and how many workers of which size it takes."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from slicebench.errors import InputError
from slicebench.runner.joining import check_processes
from slicebench.runner.options import Options
from slicebench.runner.plans import count_cores

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_ATTEMPTS = 3
"""Ray gives a local node half a minute to start, too little on a busy machine."""

_STORE_BYTES = 100_000_000
"""Ray's object store of a local cluster; next to nothing travels through it."""

_QUIET = {
    # No report about usage leaves this machine.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers without a GPU find none, whatever the variables of the driver say.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_metrics_collection": "0",
    # Importing JAX takes long where many workers begin on a busy machine.
    "RAY_worker_register_timeout_seconds": "600",
}


def check_executor(options: Options) -> None:
    """Refuses flags that do not go together, and Ray where it is not installed.

    Raises:
      InputError: One of these.
    """
    if options.executor != "ray":
        for flag in ("ray_address", "ray_workers"):
            if getattr(options, flag) is not None:
                raise InputError(
                    f"--{flag}={getattr(options, flag)}: needs --executor=ray"
                )
        return
    if options.shard is not None:
        raise InputError(
            f"--shard={options.shard} with --executor=ray: shares are for job arrays, "
            "Ray deals the trials itself; one of both is allowed"
        )
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "--executor=ray: needs Ray; pip install 'slicebench[ray]', or leave the "
            "flag out"
        )
    _host_and_port(options.ray_address)


def prepare_executor(options: Options) -> None:
    """Checks the flags and leaves accelerators to workers; call before JAX is used.

    Raises:
      InputError: As `check_executor` does.
    """
    check_processes(options)
    check_executor(options)
    if options.executor == "ray" and not (options.dry_run or options.status):
        jax.config.update("jax_platforms", "cpu")


def _host_and_port(address: str | None) -> tuple[str, int] | None:
    """Reads HOST:PORT; None for a local cluster and for `auto`.

    Raises:
      InputError: Neither of these.
    """
    if address in (None, "auto"):
        return None
    host, colon, port = str(address).rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host:
        raise InputError(
            f"--ray_address={address}: HOST:PORT of the head node is allowed, or auto "
            "on a node of a running cluster; without the flag a local one is started"
        )
    return host, int(port)


@contextlib.contextmanager
def connected(options: Options) -> Iterator[Any]:
    """Joins or starts a cluster, and leaves or ends it.

    Yields:
      The module `ray`.

    Raises:
      InputError: The cluster cannot be reached, or is of another version.
    """
    os.environ.update(_QUIET)
    import ray

    address = options.ray_address
    _refuse_silence(address)
    start: dict[str, Any] = {"address": address}
    reason = ""
    if address is None:
        start = {
            "address": "local",
            "num_cpus": count_cores(),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    for attempt in range(_ATTEMPTS if address is None else 1):
        try:
            ray.init(**start, log_to_driver=False, logging_level=logging.FATAL)
            break
        except Exception as error:
            # Ray raises bare exceptions, and all of them are about the cluster.
            ray.shutdown()
            reason = " ".join(str(error).split())
            _log.warning("Ray: attempt %d to join a cluster failed", attempt + 1)
    else:
        raise InputError(
            f"--ray_address={address or 'local'}: no cluster can be used there "
            f"({reason})"
        )
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_silence(address: str | None) -> None:
    """Knocks first: Ray itself waits for minutes, and may end the process.

    Raises:
      InputError: Nobody listens at the address.
    """
    place = _host_and_port(address)
    if place is None:
        return
    try:
        with socket.create_connection(place, timeout=_CONNECT_SECONDS):
            pass
    except OSError as error:
        raise InputError(
            f"--ray_address={address}: cannot be reached ({error.strerror or error}); "
            "the address is printed by `ray start --head`"
        ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Workers and what each needs.

    Attributes:
      workers: How many.
      cpus: CPUs that each asks Ray for.
      gpus: GPUs, 0 or 1.
      devices: CPU devices that JAX makes in each; None with a GPU.
    """

    workers: int
    cpus: float
    gpus: int
    devices: int | None


def size_workers(
    nodes: Sequence[dict[str, float]],
    *,
    wanted: int | None,
    local: bool,
    devices: int,
    recorded: int | None,
) -> Size:
    """Returns one worker a GPU; without GPUs one for as many CPUs as the driver uses.

    A worker on CPUs makes the devices that a local run on the driver's machine makes:
    batches are cut alike, and rows are those of that run. On other nodes that are
    smaller it makes fewer. A folder that was begun with other counts keeps them.

    Args:
      nodes: Resources of each living node: `CPU` and `GPU`.
      wanted: --ray_workers.
      local: Whether the cluster is this machine alone: then any number of workers
        shares its CPUs; elsewhere those that find no place wait for it.
      devices: CPU devices of a local run.
      recorded: CPU devices that the work folder's plans were made for, if any.

    Raises:
      InputError: No node has a CPU.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus and os.environ.get("JAX_PLATFORMS") != "cpu":
        return Size(workers=wanted or gpus, cpus=1, gpus=1, devices=None)
    places = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1]
    if not places:
        raise InputError("--executor=ray: no node of the cluster offers a CPU")
    # On the driver's own machine a local run would make all, however many cores.
    made = recorded or (devices if local else int(min(devices, *places)))
    cpus = float(min(made, *places))
    fitting = int(sum(place // cpus for place in places))
    workers = wanted or fitting
    if local and workers > fitting:
        cpus = sum(places) / workers
        cpus = float(int(cpus)) if cpus >= 1 else int(cpus * 100) / 100
    return Size(workers=workers, cpus=cpus, gpus=0, devices=made)


def absolute(options: Options) -> Options:
    """Returns options that mean the same in any folder of any node."""
    strata = options.strata_file
    if strata is not None:
        strata = str(Path(strata).absolute())
    experiment = options.experiment
    if experiment.endswith(".py"):
        experiment = str(Path(experiment).absolute())

    def whole(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return dataclasses.replace(
        options,
        experiment=experiment,
        workdir=options.workdir.absolute(),
        data=tuple(folder.absolute() for folder in options.data),
        splits_file=whole(options.splits_file),
        feature_file=whole(options.feature_file),
        strata_file=strata,
    )
