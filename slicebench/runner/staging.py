"""The local work folder of a run whose work folder is given by URL."""

import contextlib
import dataclasses
import fcntl
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from slicebench import spec
from slicebench.data.cache import cache_folder
from slicebench.errors import InputError
from slicebench.remote import (
    Lease,
    Mirror,
    Place,
    RemoteError,
    Uploads,
    fetch_for_reading,
    fetch_run,
    open_place,
    shown_url,
)
from slicebench.runner.options import Options

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def work_folder(options: Options) -> Iterator[Options]:
    """Yields options whose work folder is a local one.

    Without a URL they are the options as given. With one, the folder holds what the
    place has; what is written there is carried to the place meanwhile, and the rest of
    it at the end. The folder is kept if some of it could not be carried away.

    Raises:
      InputError: The place cannot be used, or another process runs there.
      RemoteError: What was written could not be carried away, or another process has
        taken over.
    """
    if options.url is None:
        yield options
        return
    if options.executor == "ray" and options.ray_address is not None:
        raise InputError(
            f"--workdir={options.place} with --ray_address: workers on other machines "
            "need a folder that all of them see; give one, or use --shard=I/N or a "
            "local cluster (--executor=ray alone)"
        )
    place = open_place(options.url)
    look = options.dry_run or options.status
    with _looked_at(place, options) if look else _run_in(place, options) as folder:
        here = dataclasses.replace(options, workdir=folder, url=shown_url(options.url))
        try:
            yield here
        except InputError as error:
            text = str(error).replace(str(folder), options.place)
            raise InputError(text) from error


@contextlib.contextmanager
def _looked_at(place: Place, options: Options) -> Iterator[Path]:
    """A copy for --status and --dry_run; nothing is written to the place."""
    with tempfile.TemporaryDirectory(prefix="slicebench-") as name:
        try:
            fetch_for_reading(place, Path(name), parts=options.status)
        except RemoteError as error:
            raise InputError(f"--workdir: {error}") from None
        yield Path(name)


@contextlib.contextmanager
def _run_in(place: Place, options: Options) -> Iterator[Path]:
    """The folder of a run, mirrored."""
    assert options.url is not None, "only places are mirrored"
    root = cache_folder() / "remote"
    folder = root / spec.digest(options.url.rstrip("/"))
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, place):
        mirror = Mirror(place, folder)
        lease = Lease(place, mirror.identity, on_lost=_stop_this_process)
        try:
            lease.acquire()
            fetch_run(mirror)
        except BaseException as error:
            lease.release()
            if isinstance(error, RemoteError):
                raise InputError(f"--workdir: {error}") from None
            raise
        mirror.only_while(lease.is_safe)
        uploads = Uploads(mirror)
        uploads.start()
        try:
            yield folder
        except BaseException:
            # What ends the run is told; what is missing in the place comes second.
            try:
                _finish(mirror, uploads, lease)
            except RemoteError as error:
                _log.error("%s", error)
            raise
        _finish(mirror, uploads, lease)


@contextlib.contextmanager
def _alone(folder: Path, place: Place) -> Iterator[None]:
    """Holds the local folder; its lock goes with this process."""
    with folder.with_name(f"{folder.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--workdir={place.url}: another process of this machine runs there; "
                "wait for it or use another folder"
            ) from None
        yield


def _finish(mirror: Mirror, uploads: Uploads, lease: Lease) -> None:
    """Carries away what is left, gives the lease back and deletes the local copy.

    Raises:
      RemoteError: That was not possible.
    """
    url, folder = mirror.place.url, mirror.folder
    try:
        if not lease.lost:
            lease.renew()
        if lease.lost:
            uploads.stop()
            raise RemoteError(
                f"{url}: another process has taken over; finished trials that it "
                f"lacks are kept in {folder}"
            )
        uploads.finish()
    except RemoteError as error:
        raise RemoteError(
            f"{error}; {mirror.pending()} files are kept in {folder}: the same command "
            "on this machine goes on and carries them there"
        ) from None
    finally:
        uploads.stop()
        lease.release()
    shutil.rmtree(folder, ignore_errors=True)


def _stop_this_process() -> None:
    """Stops the run as a scheduler would: another process has taken over."""
    _log.error("another process has taken over the work folder")
    if callable(signal.getsignal(signal.SIGTERM)):
        os.kill(os.getpid(), signal.SIGTERM)
