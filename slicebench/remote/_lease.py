"""Who may write in a place: a lease that its holder renews.

Object stores have no locks that go with their process. A run writes `lease.json`,
where the file system offers it by a call that fails if the file is there, and renews
it; another run waits until it has not been renewed for its whole time, measured on its
own clock, before it takes over. The clocks of two machines are never compared.
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicebench.errors import InputError
from slicebench.remote._place import Place, RemoteError

_log = logging.getLogger(__name__)

LEASE_FILE = "lease.json"
LEASE_SECONDS = 90.0
"""Time after which a lease that was not renewed is free."""

RENEWALS = 6
"""Renewals within that time."""

POLL_SECONDS = 2.0
SETTLE_SECONDS = 2.0
"""Time between taking over and looking whether someone else did, too."""

_MOST_SECONDS = 600.0


class Lease:
    """The lease of one run on a place.

    Args:
      place: Where.
      folder_name: Identity of the local folder, whose lock this process holds: a lease
        with the same identity is that of a process that is gone.
      on_lost: Called once, on another thread, when another run has taken over.

    Attributes:
      lost: Whether another run has taken over.
    """

    def __init__(self, place: Place, folder_name: str, on_lost: Callable[[], None]):
        self._place, self._folder, self._on_lost = place, folder_name, on_lost
        self._owner = uuid.uuid4().hex
        self._seconds = LEASE_SECONDS
        self._count = 0
        self._begun = self._renewed = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.lost = False

    def acquire(self) -> None:
        """Takes the lease and keeps it alive.

        Raises:
          InputError: Another run holds it.
          RemoteError: The place cannot be reached or written.
        """
        while not self._take():
            pass
        self._renewed = self._begun
        self._thread.start()

    def is_safe(self) -> bool:
        """Whether nobody else can have taken over yet."""
        fresh = time.monotonic() - self._renewed < self._seconds
        return fresh and not self.lost

    def renew(self) -> None:
        """Renews the lease, or finds that it is lost.

        Raises:
          RemoteError: The place cannot be reached.
        """
        found = _read(self._place)
        if found is not None and found.get("owner") != self._owner:
            self.lost = True
            return
        self._place.write(LEASE_FILE, self._content())
        self._renewed = self._begun

    def release(self) -> None:
        """Gives the lease back, if it is still held."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            found = _read(self._place)
            if found is not None and found.get("owner") == self._owner:
                self._place.remove([LEASE_FILE])
        except RemoteError as error:
            _log.warning("the lease was not given back: it ends by itself (%s)", error)

    def _content(self) -> bytes:
        self._count += 1
        self._begun = time.monotonic()
        record = {
            "owner": self._owner,
            "folder": self._folder,
            "host": platform.node(),
            "process": os.getpid(),
            "renewals": self._count,
            "renewed": time.time(),
            "seconds": self._seconds,
        }
        return (json.dumps(record, indent=1) + "\n").encode()

    def _take(self) -> bool:
        """Tries once; False where the lease went away in between."""
        made = self._place.create(LEASE_FILE, self._content())
        if made:
            return True
        found = _read(self._place)
        if found is None:
            return made is None and self._overwrite()
        if found.get("owner") == self._owner:
            return True  # Written by an attempt whose answer was lost.
        if found.get("folder") != self._folder and not self._is_silent(found):
            return False
        return self._overwrite()

    def _overwrite(self) -> bool:
        self._place.write(LEASE_FILE, self._content())
        time.sleep(SETTLE_SECONDS)
        found = _read(self._place)
        if found is not None and found.get("owner") != self._owner:
            self._refuse(found)
        return found is not None

    def _is_silent(self, first: dict[str, Any]) -> bool:
        """Waits for the lease's time; False if it goes away meanwhile.

        Raises:
          InputError: It is renewed.
        """
        seconds = _seconds(first)
        _log.warning(
            "%s is held by a process on %s: waits up to %.0f s whether it still lives",
            *(self._place.url, first.get("host", "an unknown machine"), seconds),
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(POLL_SECONDS, seconds / 4))
            found = _read(self._place)
            if found is None:
                return False
            if found != first:
                self._refuse(found)
        return True

    def _refuse(self, found: dict[str, Any]) -> None:
        raise InputError(
            f"--workdir={self._place.url}: another process runs there, on "
            f"{found.get('host', 'an unknown machine')}; wait for it or use another "
            "folder"
        )

    def _beat(self) -> None:
        while not self._end.wait(self._seconds / RENEWALS):
            try:
                self.renew()
            except RemoteError as error:
                _log.warning("the lease was not renewed: %s", error)
            if self.lost:
                self._on_lost()
                return


def _read(place: Place) -> dict[str, Any] | None:
    return _parse(place.read(LEASE_FILE))


def _parse(content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        found = json.loads(content)
    except ValueError:
        # Being written, or damaged: held by someone unknown.
        return {"content": content.decode(errors="replace")}
    return found if isinstance(found, dict) else {"content": found}


def _seconds(found: dict[str, Any]) -> float:
    given = found.get("seconds")
    if isinstance(given, int | float) and 0 < given <= _MOST_SECONDS:
        return float(given)
    return LEASE_SECONDS


def describe_holder(folder: Path) -> str | None:
    """Returns who holds a place of which a local copy was made; None if nobody does."""
    path = folder / LEASE_FILE
    found = _parse(path.read_bytes()) if path.is_file() else None
    if found is None:
        return None
    host, renewed = found.get("host", "an unknown machine"), found.get("renewed")
    if not isinstance(renewed, int | float):
        return f"a process on {host}"
    age = max(time.time() - renewed, 0)
    return f"a process on {host}, which last gave a sign of life {age:.0f} s ago"
