"""Several processes become one program: checked flags, a start and an end."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator

import jax
from jax._src import distributed

from slicebench.errors import InputError
from slicebench.runner.options import Options
from slicebench.runner.plans import count_cores
from slicebench.runner.processes import EndedElsewhereError, Processes
from slicebench.runner.stopping import Stopped

_log = logging.getLogger(__name__)

_JOIN_SECONDS = 300
"""How long the processes wait for each other at the start."""

_LEAVE_SECONDS = 60
"""How long they wait for each other at the end."""

_THREADS, _FALLBACK = "PJRT_NPROC", "NPROC"
"""Variables by which XLA's CPU client learns the size of its pool of threads."""

_HOST_DEVICES = re.compile(r"--xla_force_host_platform_device_count=(\d+)")
_OWN = re.compile(r"(127\.\d+\.\d+\.\d+|localhost):")


def check_processes(options: Options) -> None:
    """Refuses flags that do not go together; call before JAX is used.

    Raises:
      InputError: One of these.
    """
    if options.coordinator != "auto":
        _check_numbers(options)
    if not _several(options):
        return
    given = f"--coordinator={options.coordinator}"
    for there, flag, why in (
        (
            options.executor != "local",
            f"--executor={options.executor}",
            "Ray deals batches to programs of one process each",
        ),
        (
            options.shard is not None,
            f"--shard={options.shard}",
            "shares are for programs of one process each",
        ),
        (options.plan != "fixed", f"--plan={options.plan}", "give --plan=fixed"),
        (
            options.url is not None,
            f"--workdir={options.place}",
            "all processes need one folder that they share",
        ),
        (
            options.stop_when_decided,
            "--stop_when_decided",
            "looks are for one process or for --executor=ray",
        ),
        (options.dry_run, "--dry_run", "one process tells, without --coordinator"),
        (options.status, "--status", "one process tells, without --coordinator"),
        (
            options.keep_weights,
            "--keep_weights",
            "weights are kept by one process, or with --shard or --executor=ray",
        ),
    ):
        if there:
            raise InputError(f"{flag} with {given}: not possible; {why}")


def _check_numbers(options: Options) -> None:
    names = ("num_processes", "process_id", "coordinator")
    values = {name: getattr(options, name) for name in names}
    given = [name for name, value in values.items() if value is not None]
    missing = [f"--{name}" for name in names if values[name] is None]
    if given and missing:
        raise InputError(
            f"--{given[0]}={values[given[0]]}: needs {' and '.join(missing)} as well; "
            "or --coordinator=auto alone under SLURM, Open MPI or on a TPU"
        )
    if not given:
        return
    index, count = options.process_id or 0, options.num_processes or 1
    if not 0 <= index < count:
        raise InputError(
            f"--process_id={index}: with --num_processes={count}, numbers from 0 to "
            f"{count - 1} are allowed"
        )
    host, _, port = (options.coordinator or "").rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(
            f"--coordinator={options.coordinator}: HOST:PORT of process 0 or auto is "
            "allowed"
        )


def _several(options: Options) -> bool:
    return options.coordinator == "auto" or (options.num_processes or 1) > 1


@contextlib.contextmanager
def joined(options: Options) -> Iterator[Processes | None]:
    """Joins the other processes of the program, and leaves them at the end.

    They are told where this one ends early.

    Yields:
      All processes; None where this is the only one.

    Raises:
      InputError: The others are not there.
    """
    if not _several(options):
        yield None
        return
    _connect(options)
    # JAX has no public name for its client of the coordination service.
    client = distributed.global_state.client
    _use_threads(distributed.global_state.num_processes)
    team = Processes(client, jax.process_index(), jax.process_count())
    _log.info("process %d of %d", team.index, team.count)
    if not team.leads:
        # Process 0 tells the same.
        logging.getLogger("slicebench").setLevel(logging.WARNING)
    team.watch()
    failure: tuple[str, int] | None = None
    lost = False
    try:
        yield team
    except Stopped:
        raise
    except KeyboardInterrupt:
        failure = ("interrupted", 130)
        raise
    except InputError as error:
        failure = (str(error), 2)
        raise
    except EndedElsewhereError as error:
        lost = error.lost
        raise
    except Exception as error:
        failure = (f"{type(error).__name__}: {error}"[:500], 1)
        raise
    finally:
        team.leave(failure)
        # JAX would wait for a lost process, and then abort this one.
        if not lost:
            jax.distributed.shutdown()


def _use_threads(processes: int) -> None:
    """Lets CPU programs be cut for as many threads as one process would have.

    XLA cuts loops into as many parts as its pool has threads, at least one a local
    device, and the cut changes how sums are rounded. Call before the backend runs.

    Args:
      processes: Processes of the program.
    """
    found = _HOST_DEVICES.search(os.environ.get("XLA_FLAGS", ""))
    asked = jax.config.values.get("jax_num_cpu_devices")
    devices = int(found[1]) if found else max(asked or 1, 1)
    given = os.environ.get(_FALLBACK, "")
    cores = int(given) if given.isdecimal() else count_cores()
    os.environ.setdefault(_THREADS, str(max(cores, processes * devices)))


def _connect(options: Options) -> None:
    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    address = None if options.coordinator == "auto" else options.coordinator
    try:
        jax.distributed.initialize(
            address,
            options.num_processes,
            options.process_id,
            initialization_timeout=_JOIN_SECONDS,
            shutdown_timeout_seconds=_LEAVE_SECONDS,
            coordinator_bind_address=(
                address if address and _OWN.match(address) else None
            ),
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--coordinator={options.coordinator}: the processes do not come together "
            f"({reason}); start all of them, with the same address and number"
        ) from error
