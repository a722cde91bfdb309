"""Work folders on object stores and other file systems that fsspec reaches.

A run works in a local folder as ever. A mirror fetches what the place has, and carries
every finished file there while the run goes on; a lease in the place keeps a second
run away.
"""

from slicebench.remote._fetching import fetch_for_reading, fetch_run, replace_run
from slicebench.remote._lease import LEASE_FILE, Lease, describe_holder
from slicebench.remote._mirror import REPORT, Mirror
from slicebench.remote._place import (
    Place,
    RemoteError,
    append_name,
    is_url,
    open_place,
    shown_url,
)
from slicebench.remote._uploads import Uploads

__all__ = [
    "LEASE_FILE",
    "REPORT",
    "Lease",
    "Mirror",
    "Place",
    "RemoteError",
    "Uploads",
    "append_name",
    "describe_holder",
    "fetch_for_reading",
    "fetch_run",
    "is_url",
    "open_place",
    "replace_run",
    "shown_url",
]
