"""Two CPU devices, quick compilation, no user folder touched.

Compiling tiny programs with every optimisation takes longer than all else in
the suite, so only the tests that compare trained-together with trained-alone
and the slow ones do it; the others leave most optimisations out. None of them uses
XLA's newer emitters of fused loops, which make compilation twice as long.
"""

import contextlib
import os
from pathlib import Path

import jax
import pytest
from markupsafe import Markup

# Found under this name by the option --jaxtyping-packages.
import tests.typecheck  # noqa: F401
from slicebench.report import _inline, _style
from slicebench.runner.plans import count_cores
from tests import command

DEVICES = 2


def pytest_configure():
    flags = os.environ.get("XLA_FLAGS", "")
    if command.QUICK_TO_COMPILE not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {command.QUICK_TO_COMPILE}".strip()
    # Refused once the backend runs, for example under a plugin that used jax.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", DEVICES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of a file share compiled programs: a file stays with one worker."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two workers, one where there is one core: more would wait for each other."""
    return min(2, cores())


def cores():
    """Cores of this process, those that a container grants included."""
    found = float(count_cores())
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found = min(found, int(quota) / int(period))
    return max(1, int(found))


@pytest.fixture(scope="module", autouse=True)
def plain_figures(request):
    """A figure is drawn once a report, not also for files and for phones.

    The tests of the report itself draw everything.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "tests/report/" not in request.node.nodeid:
            patch.setattr(_inline, "_phone", lambda *_: Markup())
            patch.setattr(_style, "png_bytes", lambda _: b"PNG")
        yield


@pytest.fixture(scope="session", autouse=True)
def session_folders(tmp_path_factory):
    """Every worker has folders of its own: the compilation cache has no lock.

    Equal programs are then compiled once a worker, in subprocesses as well.
    """
    compiled = tmp_path_factory.mktemp("compiled")
    prepared = tmp_path_factory.mktemp("prepared")
    settings = {
        "jax_compilation_cache_dir": str(compiled),
        "jax_persistent_cache_min_compile_time_secs": 0.3,
        "jax_disable_most_optimizations": True,
    }
    before = {name: jax.config.values[name] for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLICEBENCH_CACHE", str(prepared))
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def shipped_compilation():
    """Programs of a module are compiled as a user's are."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def two_devices():
    if jax.local_device_count() < DEVICES:
        pytest.skip("jax was started with one device before the tests")
