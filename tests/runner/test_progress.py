import logging
import sys

import pytest
from absl import logging as absl_logging
from orbax.checkpoint import checkpointers

from slicebench.runner.progress import show_logs


@pytest.mark.parametrize(
    ("path", "shown"), [(checkpointers.__file__, False), (__file__, True)]
)
def test_what_orbax_raises_is_not_logged_as_well(path, shown):
    show_logs()
    try:
        raise OSError("no room")
    except OSError:
        trace = sys.exc_info()
    record = logging.LogRecord("absl", logging.ERROR, path, 1, "failed", (), trace)
    logger = absl_logging.get_absl_logger()
    assert bool(logger.filter(record)) is shown
    plain = logging.LogRecord("absl", logging.WARNING, path, 1, "slow", (), None)
    assert logger.filter(plain)
