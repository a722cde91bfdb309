"""The column that volume strategy `stratified` balances, read from a file."""

import pytest

from slicebench.errors import InputError
from slicebench.selection import load_strata_file

CASES = ("a", "b")


def write(folder, text, name="strata.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_only_other_column_is_read_in_the_order_of_the_pool(tmp_path):
    path = write(tmp_path, "scanner,case\nGE,b\nSiemens,a\nGE,t\n")
    assert load_strata_file(path, None, CASES, ["t"]) == ("Siemens", "GE")


def test_a_column_of_several_is_named(tmp_path):
    path = write(tmp_path, "case\tsite\tage\na\t007\t60\nb\t08\t70\n", "strata.tsv")
    assert load_strata_file(path, "site", CASES) == ("007", "08")
    with pytest.raises(InputError, match=r"no column is named.*FILE:COLUMN.*site, age"):
        load_strata_file(path, None, CASES)
    with pytest.raises(InputError, match=r"no column 'scanner'.*site, age"):
        load_strata_file(path, "scanner", CASES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case,s\na,1\n", "case b is missing"),
        ("case,s\na,1\nb,2\nc,1\n", "case c is not in the dataset"),
        ("case,s\na,1\nb,2\na,2\n", "case a is there twice"),
        ("case,s\na,1\nb,\n", "case b has no s"),
        ("name,s\na,1\nb,2\n", "columns name, s; case is needed"),
        ("case\na\nb\n", "no column is named"),
        ("", "not a table of text"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        load_strata_file(write(tmp_path, text), None, CASES)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.tsv"):
        load_strata_file(write(tmp_path, "", "strata.xlsx"), None, CASES)
    with pytest.raises(InputError, match="no such file"):
        load_strata_file(tmp_path / "none.csv", None, CASES)
