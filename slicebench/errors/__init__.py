"""What a user's input can cause, and reading files so that nothing else comes of them.

The command line turns an `InputError` into exit status 2 and its message, without a
traceback. Messages name the file or flag, what was given and what is allowed.
"""

from slicebench.errors._files import MAX_JSON, parse_json, read_json_value, read_regular
from slicebench.errors._input import InputError, gather, shown

__all__ = [
    "MAX_JSON",
    "InputError",
    "gather",
    "parse_json",
    "read_json_value",
    "read_regular",
    "shown",
]
