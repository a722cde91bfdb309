"""What is refused of a place before anything runs."""

import tarfile

import pytest

from slicebench.remote import _packing
from tests import command


def test_an_archive_that_leads_out_is_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../out"))
    with pytest.raises(ValueError, match="leads out of it"):
        _packing.unpack(
            tmp_path / "bad.tar",
            _packing._record(tmp_path / "bad.tar"),
            tmp_path / "folder" / "made",
        )
    assert not (tmp_path / "folder" / "out").exists()


def test_an_annotator_s_training_and_a_place_are_refused(tmp_path):
    flags = ("--experiment=train_on_annotations", f"--data={tmp_path}")
    outcome = command.run(*flags, "--workdir=memory://bucket/mine")
    assert outcome.status == 2
    assert "a folder of this machine is allowed" in outcome.errors[0]
