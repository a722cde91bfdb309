"""Every kind of hostile input ends with one clear line, and nothing is lost."""

import pytest

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
