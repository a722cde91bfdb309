"""Damaged and hostile declarations: dataset.json, groups.csv and splits files."""

import json
import os
from pathlib import Path

from slicebench.errors import MAX_JSON
from tests.hostile.base import (
    CASES,
    MSD_IMAGE,
    content,
    copy,
    declared,
    entry,
    linked,
    replaced,
    spoilt,
)
from tests.hostile.kind import Kind, Make

_FILE = "dataset.json"


def _huge(path):
    with path.open("wb") as file:
        file.truncate(MAX_JSON + 1)


def _twice(folder):
    path = folder / _FILE
    text = path.read_text().replace('"labels"', '"labels": {"b": 0}, "labels"')
    path.write_text(text)


def _two_places(folder):
    (folder / "more").mkdir()
    os.link(folder / MSD_IMAGE, folder / "more/c00.nii.gz")
    _append(folder, {"image": "more/c00.nii.gz", "label": "labelsTr/c01.nii.gz"})


def _append(folder, item):
    document = json.loads((folder / _FILE).read_text())
    document["training"].append(item)
    (folder / _FILE).write_text(json.dumps(document))


def _reverse(folder):
    document = json.loads((folder / _FILE).read_text())
    document["training"].reverse()
    (folder / _FILE).write_text(json.dumps(document))


def _groups(text: bytes):
    return spoilt(lambda folder: (folder / "groups.csv").write_bytes(text))


def _both_groups(folder):
    document = json.loads((folder / _FILE).read_text()) | {"groups": {"c00": "p"}}
    (folder / _FILE).write_text(json.dumps(document))
    (folder / "groups.csv").write_text("case,group\nc00,p\n")


def _no_images(folder):
    for path in (folder / "imagesTr").iterdir():
        path.unlink()


def _splits(value, text: str | None = None) -> Make:
    """A sound dataset and a splits file."""

    def make(folder: Path) -> list[str]:
        path = folder / "splits.json"
        path.write_text(json.dumps(value) if text is None else text)
        return [str(copy("nnunet", folder)), f"--splits_file={path}"]

    return make


_NAMES = [f"c{number:02d}" for number in range(CASES)]

KINDS = (
    Kind(
        "no folder",
        "a dataset folder that is not there",
        lambda folder: [str(folder / "absent")],
        ("absent: no such folder", "nnU-Net"),
    ),
    Kind(
        "endless folder name",
        "a dataset folder with a name of 5,000 letters",
        lambda folder: [str(folder / ("n" * 5000))],
        ("File name too long",),
    ),
    Kind(
        "file as dataset",
        "a file where the dataset folder should be",
        lambda _: [str(Path(__file__))],
        ("no such folder",),
    ),
    Kind(
        "no dataset.json",
        "dataset.json is missing",
        spoilt(lambda folder: (folder / _FILE).unlink()),
        ("no dataset.json",),
    ),
    Kind("dataset.json empty", "0 bytes", content(_FILE, b""), (_FILE, "not valid")),
    Kind("dataset.json cut", "half of it", content(_FILE, b'{"labels": {'), (_FILE,)),
    Kind("dataset.json a list", "a list", content(_FILE, b"[]"), ("holds a list",)),
    Kind(
        "dataset.json nested",
        "100,000 lists in each other",
        content(_FILE, b"[" * 100_000),
        (_FILE, "nested too deeply"),
    ),
    Kind(
        "dataset.json not UTF-8",
        "UTF-16 text",
        content(_FILE, '{"a": 1}'.encode("utf-16")),
        (_FILE, "utf-8"),
    ),
    Kind(
        "dataset.json of 128 MiB",
        "a file that is far too large",
        replaced(_FILE, _huge),
        (_FILE, f"allowed are {MAX_JSON}"),
    ),
    Kind(
        "dataset.json a pipe",
        "a named pipe",
        replaced(_FILE, os.mkfifo),
        (_FILE, "pipe"),
    ),
    Kind(
        "dataset.json a folder",
        "a folder",
        replaced(_FILE, lambda path: path.mkdir()),
        (_FILE, "folder"),
    ),
    Kind(
        "dataset.json elsewhere",
        "a link out of the dataset",
        linked(_FILE, "/etc/hostname"),
        (_FILE,),
    ),
    Kind("key twice", "`labels` stands twice", spoilt(_twice), ("'labels'", "twice")),
    Kind(
        "NaN in JSON",
        "a number that JSON does not know",
        content(_FILE, b'{"channel_names": {"0": "T1"}, "slice_axis": NaN}'),
        (_FILE, "NaN"),
    ),
    Kind(
        "neither layout",
        "an object without the keys of a layout",
        content(_FILE, b'{"name": "x"}'),
        ("neither layout", "'name'"),
    ),
    Kind("no labels", "`labels` is missing", declared(labels=None), ("`labels`",)),
    Kind(
        "labels a list", "wrong type", declared(labels=[1, 2]), ("must be an object",)
    ),
    Kind(
        "no background",
        "no label 0",
        declared(labels={"a": 1}),
        ("background with value 0",),
    ),
    Kind(
        "label value 300 declared",
        "a value above 255",
        declared(labels={"background": 0, "a": 300}),
        ("300", "allowed are integers from 0 to 255"),
    ),
    Kind(
        "label value negative declared",
        "-1",
        declared(labels={"background": 0, "a": -1}),
        ("-1", "allowed are"),
    ),
    Kind(
        "label value true",
        "true instead of a number",
        declared(labels={"background": 0, "a": True}),
        ("'a' has value True",),
    ),
    Kind(
        "label value of 10,000 digits",
        "a text of digits",
        declared(labels={"background": 0, "a": "1" * 10_000}),
        ("'a' has value",),
    ),
    Kind(
        "regions",
        "a label that is a list",
        declared(labels={"background": 0, "r": [1, 2]}),
        ("region [1, 2]", "--target_labels"),
    ),
    Kind(
        "value twice",
        "two labels of one value",
        declared(labels={"background": 0, "a": 1, "b": 1}),
        ("value 1 is listed twice",),
    ),
    Kind(
        "class without a name",
        "an empty name",
        declared(labels={"background": 0, "": 1, "b": 2}),
        ("label value 1 has name ''",),
    ),
    Kind(
        "class name with terminal commands",
        "a name that would colour the screen",
        declared(labels={"background": 0, "\x1b[31mred": 1, "b": 2}),
        ("printable characters",),
    ),
    Kind(
        "class name of half a character",
        "a lone surrogate",
        declared(labels={"background": 0, "\ud800": 1, "b": 2}),
        ("printable characters",),
    ),
    Kind(
        "channel numbers with a gap",
        '"1" without "0"',
        declared(channel_names={"1": "CT"}),
        ("channel_names", '"0"'),
    ),
    Kind(
        "channel name a list",
        "wrong type",
        declared(channel_names={"0": ["CT"]}),
        ("channel_names", "['CT']"),
    ),
    Kind(
        "two channels declared",
        "one file a case",
        declared(channel_names={"0": "T1", "1": "T2"}),
        ("c00_0001.nii.gz is missing (channel T2)",),
    ),
    Kind(
        "file ending .png",
        "no NIfTI",
        declared(file_ending=".png"),
        ("'.png'", "allowed are .nii.gz, .nii"),
    ),
    Kind(
        "file ending a list",
        "wrong type",
        declared(file_ending=[".nii"]),
        ("allowed are .nii.gz, .nii",),
    ),
    Kind(
        "slice axis '2'", "a text", declared(slice_axis="2"), ("allowed are 0, 1 and",)
    ),
    Kind(
        "groups a list", "wrong type", declared(groups=["c00"]), ("`groups` must map",)
    ),
    Kind(
        "group an object",
        "wrong type",
        declared(groups={"c00": {"p": 1}}),
        ("`groups` must map",),
    ),
    Kind(
        "group of a stranger",
        "a case that is not there",
        declared(groups={"c77": "p"}),
        ("unknown case c77",),
    ),
    Kind("groups twice", "in two places", spoilt(_both_groups), ("keep one",)),
    Kind(
        "groups.csv without header",
        "other columns",
        _groups(b"a,b\n"),
        ("`case,group`",),
    ),
    Kind(
        "groups.csv not text", "zero bytes", _groups(b"case,group\n\0"), ("groups.csv",)
    ),
    Kind("no images", "imagesTr is empty", spoilt(_no_images), ("imagesTr holds no",)),
    Kind(
        "path with ../",
        "a training entry above the dataset",
        entry(image="../secret.nii.gz"),
        ("../secret.nii.gz lies outside",),
    ),
    Kind(
        "absolute path",
        "a training entry elsewhere",
        entry(label="/etc/passwd.nii.gz"),
        ("/etc/passwd.nii.gz lies outside",),
    ),
    Kind(
        "path with a zero byte",
        "c00.nii.gz, zero, .nii.gz",
        entry(image="imagesTr/c00.nii.gz\0.nii.gz"),
        ("is no file name",),
    ),
    Kind(
        "endless path",
        "a path of 10,000 letters",
        entry(image="n" * 10_000 + ".nii.gz"),
        ("is no file name",),
    ),
    Kind(
        "entry that is missing",
        "a file that is not there",
        entry(image="imagesTr/no.nii.gz"),
        ("image imagesTr/no.nii.gz is missing",),
    ),
    Kind(
        "entry of another type",
        "a PNG",
        entry(image="imagesTr/c01.png"),
        ("not a NIfTI file", "allowed endings"),
    ),
    Kind(
        "entry without label", "wrong type", entry(label=None), ("entry 1 must have",)
    ),
    Kind(
        "entry twice",
        "one case stands twice",
        entry(image="imagesTr/c02.nii.gz", label="labelsTr/c02.nii.gz"),
        ("named c02",),
    ),
    Kind(
        "two cases of one name",
        "c00 in two folders",
        spoilt(_two_places, "msd"),
        ("named c00",),
    ),
    Kind(
        "one label for two cases",
        "a label stands twice",
        entry(label="labelsTr/c00.nii.gz"),
        ("labelsTr/c00.nii.gz stands twice",),
    ),
    Kind(
        "label folder climbs",
        "imagesTr/../../x",
        entry(image="imagesTr/../../x.nii.gz"),
        ("lies outside",),
    ),
    Kind(
        "listed image links out",
        "a training entry that is a link out of the dataset",
        linked(MSD_IMAGE, "/etc/hostname", "msd"),
        (MSD_IMAGE, "leads out"),
    ),
    Kind("no entries", "an empty list", declared("msd", training=[]), ("training",)),
    Kind(
        "entries a text", "wrong type", declared("msd", training="x"), ("`training`",)
    ),
    Kind(
        "entries unsorted",
        "training entries in reverse: sound, and taken",
        spoilt(_reverse, "msd"),
        ("no faults",),
        status=0,
    ),
    Kind("splits not JSON", "text", _splits(None, "x"), ("splits.json", "not valid")),
    Kind(
        "splits an object", "wrong type", _splits({}), ("expected a list of objects",)
    ),
    Kind(
        "splits without val",
        "a key is missing",
        _splits([{"train": _NAMES}]),
        ("`train` and `val`",),
    ),
    Kind(
        "splits with a stranger",
        "a case that is not there",
        _splits([{"train": [*_NAMES[:6], "x"], "val": _NAMES[6:]}]),
        ("unknown case x",),
    ),
    Kind(
        "splits with a case twice",
        "in train and in val",
        _splits([{"train": _NAMES, "val": _NAMES[6:]}]),
        ("c06 stands more than once",),
    ),
    Kind(
        "splits too small",
        "one patient for testing",
        _splits([{"train": _NAMES[:8], "val": _NAMES[8:]}]),
        ("1 in `val`", "allowed are"),
    ),
    Kind(
        "splits missing",
        "no such file",
        lambda folder: [str(copy("nnunet", folder)), "--splits_file=absent.json"],
        ("absent.json: no such file",),
    ),
)
