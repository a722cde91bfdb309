"""A folder as one uncompressed archive, and back; nothing of it becomes code."""

import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any


def pack(folder: Path, target: Path) -> dict[str, Any]:
    """Writes a folder's files as one archive.

    Args:
      folder: What is packed.
      target: The archive.

    Returns:
      Its size and digest.

    Raises:
      OSError: A file went away meanwhile.
    """
    with tarfile.open(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            archive.add(path, name, recursive=False, filter=_nameless)
    return _record(target)


def unpack(source: Path, record: dict[str, Any], folder: Path) -> None:
    """Makes a folder of an archive.

    Args:
      source: The archive.
      record: What `pack` returned.
      folder: To be made; it appears when it is complete.

    Raises:
      ValueError: The archive is not what was packed, or holds other things than
        files and folders.
    """
    if _record(source) != {name: record.get(name) for name in ("bytes", "sha256")}:
        raise ValueError("it is not complete")
    half = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    with tarfile.open(source, "r:") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if not parts or {"..", "/"} & {*parts}:
                raise ValueError(f"it holds {member.name!r}, which leads out of it")
            path = half.joinpath(*parts)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
            elif member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                raise ValueError(f"it holds {member.name!r}, which is no file")
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _record(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
