"""One prefix of a file system that fsspec reaches: whole files, bounded retries."""

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

from slicebench.errors import InputError

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts; after the last one an operation has failed."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRET = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^@/]*:[^/]*@")
_UPLOADING = ".uploading"
_WHOLE_PUTS = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "tos"}
)
"""Stores whose objects appear only when they are complete."""

_FINAL = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
)
"""Errors that another attempt would meet again."""

_T = TypeVar("_T")


class RemoteError(Exception):
    """A place cannot be reached, read or written; the message says which and why."""


def is_url(text: str) -> bool:
    """Whether a work folder is given by URL.

    >>> is_url("s3://bucket/sweep"), is_url("runs/sweep")
    (True, False)
    """
    return _URL.match(text) is not None


def shown_url(url: str) -> str:
    """Returns a URL without user and password.

    >>> shown_url("sftp://me:secret@host/runs/")
    'sftp://host/runs'
    """
    return _SECRET.sub(r"\1", url).rstrip("/")


def append_name(url: str, name: str) -> str:
    """Returns the URL of something inside a place."""
    return f"{url.rstrip('/')}/{name}"


def open_place(url: str, flag: str = "--workdir") -> "Place":
    """Opens the file system of a URL; nothing is read or written yet.

    Args:
      url: Such as `s3://bucket/prefix`.
      flag: Where it was given, for messages.

    Raises:
      InputError: The URL cannot be used, or the package of its file system is missing.
    """
    import fsspec

    given = f"{flag}={shown_url(url)}"
    if "::" in url or "?" in url or "#" in url:
        raise InputError(
            f"{given}: PROTOCOL://BUCKET/PREFIX is allowed, without ::, ? and #; "
            "credentials come from the environment of the file system's package"
        )
    try:
        fs, root = fsspec.url_to_fs(
            url, skip_instance_cache=True, use_listings_cache=False
        )
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None) or "its package"
        raise InputError(
            f"{given}: needs the package {missing}; pip install {missing}"
        ) from None
    except Exception as error:
        # Packages have errors of their own; an unknown protocol is a ValueError.
        raise InputError(
            f"{given}: cannot be opened ({_reason(error, url)}); s3://, gs://, "
            "abfs://, sftp:// and what else fsspec knows are allowed"
        ) from None
    root = str(root).rstrip("/")
    if not root:
        raise InputError(f"{given}: names no bucket or folder")
    return Place(fs, root, url)


class Place:
    """A prefix of a file system.

    A file appears whole or not at all: object stores promise that themselves,
    elsewhere it is written beside its place and renamed.

    Args:
      fs: File system of fsspec.
      root: Prefix as the file system writes it.
      url: As given.

    Attributes:
      url: Without user and password.
    """

    def __init__(self, fs: Any, root: str, url: str):
        self._fs, self._root, self._given = fs, root, url
        self.url = shown_url(url)
        names = [fs.protocol] if isinstance(fs.protocol, str) else fs.protocol
        self._whole_puts = not _WHOLE_PUTS.isdisjoint(names)

    def at(self, name: str) -> "Place":
        """Returns a prefix inside this one."""
        return Place(self._fs, f"{self._root}/{name}", append_name(self._given, name))

    def names(self) -> list[str]:
        """Returns the names of all files, sorted, relative to the prefix.

        Names that would lead out of a local folder are left out.
        """

        def call() -> list[str]:
            try:
                return list(self._fs.find(self._root))
            except FileNotFoundError:
                return []

        found = self._try("listed", call)
        start = f"{self._root}/"
        names = [path.removeprefix(start) for path in found if path.startswith(start)]
        return sorted(name for name in names if _is_plain(name))

    def read(self, name: str) -> bytes | None:
        """Returns a file's content; None if it is not there."""

        def call() -> bytes | None:
            try:
                return self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None

        return self._try(f"read ({name})", call)

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file, over the one that is there."""

        def call(path: str) -> None:
            self._fs.pipe_file(path, content)

        self._try(f"written ({name})", lambda: self._appear(name, call))

    def put(self, source: Path, name: str) -> None:
        """Copies a local file there, over the one that is there."""

        def call(path: str) -> None:
            self._fs.put_file(str(source), path)

        self._try(f"written ({name})", lambda: self._appear(name, call))

    def get(self, name: str, target: Path) -> bool:
        """Copies a file from there; returns whether it is there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")

        def call() -> bool:
            try:
                self._fs.get_file(self._path(name), str(temporary))
            except FileNotFoundError:
                return False
            temporary.replace(target)
            return True

        try:
            return self._try(f"read ({name})", call)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, names: Iterable[str]) -> None:
        """Deletes files; those that are gone already do not matter."""
        for name in names:

            def call(path: str = self._path(name)) -> None:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(path)

            self._try(f"deleted ({name})", call)

    def remove_half_files(self) -> None:
        """Deletes what killed processes were writing."""
        self.remove(name for name in self.names() if name.endswith(_UPLOADING))

    def create(self, name: str, content: bytes) -> bool | None:
        """Writes a small file if there is none.

        Returns:
          Whether it was written; None where the file system does not offer that.
        """
        path = self._path(name)

        def call() -> bool | None:
            self._make_parent(path)
            try:
                with self._fs.open(path, "xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
            except (ValueError, NotImplementedError):
                return None
            return True

        return self._try(f"written ({name})", call)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _make_parent(self, path: str) -> None:
        # Object stores have no folders; asking for one might ask for a bucket.
        if not self._whole_puts:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _appear(self, name: str, write: Callable[[str], None]) -> None:
        path = self._path(name)
        if self._whole_puts:
            write(path)
            return
        self._make_parent(path)
        temporary = f"{path}.{uuid.uuid4().hex}{_UPLOADING}"
        try:
            write(temporary)
            self._fs.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    def _try(self, done: str, call: Callable[[], _T]) -> _T:
        """Calls until it works.

        Raises:
          RemoteError: It never did.
        """
        for pause in PAUSES:
            try:
                return call()
            except _FINAL as error:
                self._give_up(done, error)
            except Exception:  # Every package has errors of its own.
                time.sleep(pause)
        try:
            return call()
        except Exception as error:
            self._give_up(done, error)

    def _give_up(self, done: str, error: Exception) -> NoReturn:
        reason = _reason(error, self._given)
        raise RemoteError(f"{self.url}: cannot be {done}: {reason}") from None


def _is_plain(name: str) -> bool:
    """Whether a name stays inside its folder.

    >>> [_is_plain(name) for name in ("trials/a", "../a", "/a", "trials//a", "")]
    [True, False, False, False, False]
    """
    parts = PurePosixPath(name).parts
    return bool(parts) and "/".join(parts) == name and not {"..", "/"} & {*parts}


def _reason(error: Exception, url: str) -> str:
    """First line of an error, without what stands before the host of a URL."""
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    secret = _SECRET.match(url)
    if secret:
        userinfo = secret[0].removeprefix(secret[1]).rstrip("@")
        for part in sorted({userinfo, *userinfo.split(":", 1)}, key=len, reverse=True):
            text = text.replace(part, "***") if part else text
    return text
