"""Calls the command line, in this process or in another."""

import contextlib
import dataclasses
import io
import logging
import os
import pathlib
import subprocess
import sys

# Defines flags of its own: were it first imported inside a saved state, its
# flags would be forgotten with that state.
import array_record.python.array_record_data_source  # noqa: F401
import pytest
from absl.testing import flagsaver

from slicebench import main

QUICK_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"
ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def errors(self):
        """Lines of standard error that say what was wrong."""
        return [line for line in self.err.splitlines() if line[:12] == "slicebench: "]


@contextlib.contextmanager
def quiet_logging():
    """Undoes what the command does to the loggers of this process."""
    loggers = [logging.getLogger(name) for name in (None, "slicebench")]
    before = [(log.level, log.propagate, log.handlers[:]) for log in loggers]
    try:
        yield
    finally:
        for log, (level, propagate, handlers) in zip(loggers, before, strict=True):
            log.setLevel(level)
            log.propagate = propagate
            log.handlers[:] = handlers


def run(*arguments, report=True):
    """Runs the command in this process, on request without drawing a report."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        flagsaver.flagsaver(),
        quiet_logging(),
    ):
        for name in main._flag_values():
            # What another test has parsed is not given here.
            main.FLAGS[name].unparse()
        if not report:
            patch.setattr(main, "_report", lambda _: None)
        try:
            main.main(main.parse_flags(["slicebench", *map(str, arguments)]))
        except SystemExit as end:
            status = end.code
    return Outcome(status, out.getvalue(), err.getvalue())


def start(*arguments, devices=2, **settings):
    """Starts the command in a process of its own, on two devices everywhere."""
    count = f"--xla_force_host_platform_device_count={devices} {QUICK_TO_COMPILE}"
    return subprocess.Popen(
        [sys.executable, "-m", "slicebench.main", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": count} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=600):
    out, err = process.communicate(timeout=timeout)
    return Outcome(process.returncode, out, err)
