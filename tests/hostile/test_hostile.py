"""Every kind of hostile input ends with one clear line, and nothing is lost."""

import subprocess
import sys

import pytest

from slicebench.report import write_report
from tests import command, made_up
from tests.hostile import kinds
from tests.hostile.kind import attempt


@pytest.mark.parametrize("name", kinds.KINDS)
def test_hostile_input(name, tmp_path):
    kind = kinds.KINDS[name]
    tried = attempt(kind, tmp_path)
    assert not tried.faults(kind), tried.message[:2000]


def test_there_are_many_kinds_and_each_has_its_own_name():
    assert len(kinds.KINDS) == kinds.COUNT
    assert len(kinds.KINDS) > 60


def test_a_stranger_sees_one_line_and_no_other_programs_log(tmp_path):
    """As typed: a header that libraries would log about on their own."""
    from tests.hostile.base import IMAGE, header

    make = header(IMAGE, dim=[3, 10, 12, -5, 1, 1, 1, 1], magic=b"zz")
    done = subprocess.run(
        [sys.executable, "-m", "slicebench.data.check", *make(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=command.ROOT,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert IMAGE in line


def test_names_with_markup_are_escaped_in_the_report(tmp_path):
    name = "<script>alert(1)</script>"
    made_up.write_made_up_run(tmp_path, seeds=2, cases=2, classes=(name,))
    page = write_report(tmp_path).read_text()
    assert name not in page
    assert "&lt;script&gt;alert(1)" in page
