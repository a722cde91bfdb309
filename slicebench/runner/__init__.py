"""From an experiment to results: the one orchestrator."""

from slicebench.runner.disk import disk_trouble
from slicebench.runner.given import GIVEN, given_study
from slicebench.runner.joining import joined
from slicebench.runner.memory import OutOfMemoryError
from slicebench.runner.options import (
    Options,
    Overrides,
    Shard,
    parse_fractions,
    parse_names,
    parse_numbers,
    parse_shard,
    parse_window,
)
from slicebench.runner.plans import use_all_cores
from slicebench.runner.preview import preview
from slicebench.runner.processes import EndedElsewhereError
from slicebench.runner.progress import show_logs
from slicebench.runner.ray_cluster import prepare_executor
from slicebench.runner.ray_session import LostBatchError, make_session
from slicebench.runner.session import Session
from slicebench.runner.staging import work_folder
from slicebench.runner.status import status_text
from slicebench.runner.stopping import Stopped
from slicebench.runner.study import Study, make_study

__all__ = [
    "GIVEN",
    "EndedElsewhereError",
    "LostBatchError",
    "Options",
    "OutOfMemoryError",
    "Overrides",
    "Session",
    "Shard",
    "Stopped",
    "Study",
    "disk_trouble",
    "given_study",
    "joined",
    "make_session",
    "make_study",
    "parse_fractions",
    "parse_names",
    "parse_numbers",
    "parse_shard",
    "parse_window",
    "prepare_executor",
    "preview",
    "show_logs",
    "status_text",
    "use_all_cores",
    "work_folder",
]
