"""JSON files of a work folder: written whole or not at all, read with a check."""

# pyright: strict

import json
import os
from pathlib import Path
from typing import Any, cast

from slicebench.errors import InputError, read_json_value
from slicebench.results._forms import FORMS, check_form

TEMPORARY = ".tmp"
SCHEMA = 1
"""Number of the forms that are known here."""


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Writes readable JSON so that a kill leaves the old file or the new one.

    Raises:
      ValueError: A number is not finite: JSON has no word for it.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, (text + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON object.

    Files of the suite's own, such as experiment.json, are known by their name; what
    stands in them must have the form in which it was written.

    Raises:
      InputError: The file is missing, not JSON, not an object, or of another form.
    """
    target = Path(path)
    value = read_json_value(target)
    if not isinstance(value, dict):
        raise InputError(f"{target}: holds {type(value).__name__}, not an object")
    content = cast(dict[str, Any], value)
    # Files of another version have another form: their readers say which they read.
    if target.name in FORMS and content.get("schema_version", SCHEMA) == SCHEMA:
        check_form(target, content, FORMS[target.name])
    return content


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that a kill leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
