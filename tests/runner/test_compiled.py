"""Compiled programs are kept between processes, and only whole ones."""

import fcntl
import os
import subprocess
import sys

import jax

from slicebench.runner.compiled import CompiledPrograms, clean, compiled_programs
from tests import command

COMPILE = """
import jax
from slicebench.runner.compiled import compiled_programs
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
with compiled_programs() as programs:
    jax.jit(lambda x: x * 2 + 1).lower(1.0).compile()
    print(programs.hits)
    {end}
print(jax.config.values["jax_compilation_cache_dir"])
"""


def folders(root):
    kept, own = root / "kept", root / "running-1"
    kept.mkdir()
    own.mkdir()
    return kept, own


def compile_in_a_process(cache, end=""):
    """Hits, and the folder that jax is left with."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    outcome = subprocess.run(
        [sys.executable, "-c", COMPILE.format(end=end)],
        cwd=command.ROOT,
        env=settings | {"SLICEBENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    return outcome.stdout.split(), outcome.stderr


def test_a_second_process_reads_what_the_first_one_compiled(tmp_path):
    assert compile_in_a_process(tmp_path)[0] == ["0", "None"]
    assert len(list(tmp_path.glob("compiled/*/*-cache"))) >= 1
    (hits, left), _ = compile_in_a_process(tmp_path)
    assert int(hits) >= 1
    assert left == "None"
    assert not list(tmp_path.glob("compiled/running-*"))


def test_a_killed_process_leaves_nothing_that_is_used(tmp_path):
    kill = "import os; os.kill(os.getpid(), 9)"
    compile_in_a_process(tmp_path, end=kill)
    (left,) = tmp_path.glob("compiled/running-*")
    assert not list(tmp_path.glob("compiled/[!r]*/*-cache"))
    clean(tmp_path / "compiled")
    assert not left.exists()


def test_finished_programs_appear_whole_and_once(tmp_path):
    kept, own = folders(tmp_path)
    (kept / "old-cache").write_text("old")
    programs = CompiledPrograms(kept, own)
    assert (own / "old-cache").read_text() == "old"
    (own / "new-cache").write_text("new")
    (own / "new-atime").write_text("not a program")
    programs.publish()
    programs.publish()
    assert {path.name for path in kept.iterdir()} == {"old-cache", "new-cache"}
    assert (kept / "new-cache").read_text() == "new"


def test_programs_are_copied_where_links_are_not_possible(tmp_path, monkeypatch):
    kept, own = folders(tmp_path)
    (kept / "old-cache").write_text("old")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    CompiledPrograms(kept, own)
    assert (own / "old-cache").read_text() == "old"


def test_the_oldest_programs_go_first(tmp_path):
    kept, own = folders(tmp_path)
    for age, name in enumerate(("newest", "middle", "oldest")):
        path = kept / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    (own / "mine-cache").write_bytes(bytes(500))
    clean(tmp_path, most_bytes=250)
    assert sorted(path.name for path in kept.iterdir()) == [
        "middle-cache",
        "newest-cache",
    ]
    assert (own / "mine-cache").exists()


def test_the_folder_of_a_running_process_stays(tmp_path):
    _, own = folders(tmp_path)
    with (own / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clean(tmp_path)
        assert own.exists()
    clean(tmp_path)
    assert not own.exists()


def test_a_folder_chosen_by_the_user_stays():
    """The tests have one of their own."""
    before = jax.config.values["jax_compilation_cache_dir"]
    assert before
    with compiled_programs() as programs:
        assert jax.config.values["jax_compilation_cache_dir"] == before
        assert programs.hits == 0
        programs.publish()
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path):
    path = tmp_path / "cache"
    path.write_text("a file where the folder should be")
    (hits, left), errors = compile_in_a_process(path)
    assert (hits, left) == ("0", "None")
    assert "compiled programs are not kept" in errors
