"""Reports of runs that lie on object stores: copies that are read, results put back."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from slicebench.errors import InputError
from slicebench.remote import (
    Place,
    RemoteError,
    fetch_for_reading,
    is_url,
    open_place,
    replace_run,
)
from slicebench.results import read_json, write_json_atomic

UNITED = "all"
"""Folder for the report of all shares, beside them."""


class Copies:
    """Local copies of places.

    Args:
      root: Folder for the copies.
      images: Whether example pictures are copied.
    """

    def __init__(self, root: Path, *, images: bool):
        self._root, self._images = root, images
        self._places: dict[Path, Place] = {}
        self._targets: set[Path] = set()

    def source(self, given: str) -> Path:
        """Returns a folder to read: as given, or a copy of what the URL names.

        Raises:
          InputError: The URL cannot be used.
          RemoteError: It cannot be read.
        """
        if not is_url(given):
            return Path(given)
        place = open_place(given)
        folder = self._new(place)
        fetch_for_reading(place, folder, pictures=self._images)
        if not (folder / "experiment.json").exists():
            self._fetch_target(place.at(UNITED), folder / UNITED, "--workdir")
        return folder

    def target(self, given: str) -> Path:
        """Returns a folder to write to, whose content `publish` carries to the URL.

        Raises:
          InputError: The URL cannot be used, or holds something else than a report.
          RemoteError: It cannot be read.
        """
        if not is_url(given):
            return Path(given)
        place = open_place(given, "--out")
        folder = self._new(place)
        self._fetch_target(place, folder, "--out")
        return folder

    def name_sources(self, folder: Path) -> None:
        """Names places, not their copies, as what a merged folder was made from."""
        path = folder / "experiment.json"
        if not self._places or not os.path.exists(path):
            return
        text = json.dumps(read_json(path))
        if self.shown(text) != text:
            write_json_atomic(path, json.loads(self.shown(text)))

    def publish(self, folder: Path) -> None:
        """Carries a report to its place; one in a folder of this machine stays there.

        Raises:
          RemoteError: The place cannot be written.
        """
        place = self._places.get(folder)
        merged = place is None or folder in self._targets
        if place is None and folder.parent in self._places:
            place = self._places[folder.parent].at(folder.name)
        if place is not None:
            replace_run(place, folder, merged=merged)

    def shown(self, text: str) -> str:
        """Returns a text with the URLs of places instead of their copies."""
        for folder, place in self._places.items():
            text = text.replace(str(folder), place.url)
        return text

    def _new(self, place: Place) -> Path:
        folder = self._root / f"copy-{len(self._places)}"
        folder.mkdir()
        self._places[folder] = place
        return folder

    def _fetch_target(self, place: Place, folder: Path, flag: str) -> None:
        """Fetches what tells whether a report may be written over."""
        self._targets.add(folder)
        names = place.names()
        if not names:
            return
        if not place.get("experiment.json", folder / "experiment.json"):
            raise InputError(
                f"{flag}={place.url}: is not empty and holds no merged report; give a "
                "place that is new, empty, or was made by --out before"
            )


@contextlib.contextmanager
def copies(*, images: bool) -> Iterator[Copies]:
    """Yields a folder of copies, deleted at the end; messages name places.

    Raises:
      InputError: As within, with URLs instead of copies.
      RemoteError: A place cannot be read or written.
    """
    with tempfile.TemporaryDirectory(prefix="slicebench-") as name:
        made = Copies(Path(name), images=images)
        try:
            yield made
        except (InputError, RemoteError) as error:
            raise type(error)(made.shown(str(error))) from error
