"""Tiny trees with the folder and file names of published data sets."""

import gzip
import struct

import numpy as np

from tests.data import folders

AXIAL = np.diag([-1.0, -1.0, 2.0, 1.0])  # as published: x to the left, y to the front


def write_lits(folder, cases=12, batches=True, ending=".nii"):
    for number in range(cases):
        image, label = folders.draw_case(number)
        part = folder / f"Training Batch {1 + number % 2}" if batches else folder
        folders.save(part / f"volume-{number}{ending}", image.astype(np.int16), AXIAL)
        folders.save(part / f"segmentation-{number}{ending}", label, AXIAL)
    return folder


def write_atlas(folder, subjects=12, root="derivatives/ATLAS", sessions=(1,)):
    for number in range(subjects):
        subject = f"sub-r{1 + number // 4:03d}s{number:03d}"
        for session in sessions:
            image, label = folders.draw_case(10 * number + session)
            place = folder / root.format(cohort=f"R{1 + number // 4:03d}")
            place = place / subject / f"ses-{session}" / "anat"
            stem = f"{subject}_ses-{session}_space-MNI152NLin2009aSym"
            folders.save(place / f"{stem}_T1w.nii.gz", image)
            mask = (label == 2).astype(np.uint8)
            name = f"{stem}_label-L_desc-T1lesion_mask.nii.gz"
            folders.save(place / name, mask)
    return folder


MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping.csv"
MASKS = "Segmentation_Masks_NRRD"
PRE, POST = "ax dyn pre-93877", "ax dyn 1st pass-51216"
SHAPE = (10, 12, 5)
SPACING = (0.7, 0.7, 1.2)
ORIGIN = (-30.0, 20.0, -8.0)  # mm, LPS


def write_duke(folder, patients=12, mapping=True, reverse=False):
    """Patients of two series each; masks as 3D Slicer writes them.

    Args:
      folder: Where to write.
      patients: How many.
      mapping: Whether the archive's table is there.
      reverse: Whether masks are stored from superior to inferior.
    """
    rows = ["original_path_and_filename,classic_path,descriptive_path"]
    for number in range(1, patients + 1):
        name = f"Breast_MRI_{number:03d}"
        image, label = draw_duke(number)
        study = f"01-01-1990-NA-MRI BREAST BILATERAL WWO-{number}"
        for series, offset in ((PRE, 0), (POST, 500)):
            path = folder / "Duke-Breast-Cancer-MRI" / name / study / series
            write_series(path, image + offset)
            phase = "pre" if series == PRE else "post_1"
            # In the published table some slashes are there twice.
            extra = "//" if number % 2 else "/"
            rows += [
                f"DICOM_Images/{name}/{phase}/{name}_{phase}_{index:03d}.dcm,"
                f"Duke-Breast-Cancer-MRI/{name}/1.3.6/1.3.7.{phase}/1-{index}.dcm,"
                f"Duke-Breast-Cancer-MRI/{name}/{study}/{series}{extra}1-{index}.dcm"
                for index in range(1, SHAPE[2] + 1)
            ]
        stem = folder / MASKS / name / f"Segmentation_{name}"
        breast = (label > 0).astype(np.uint8)
        # Label values differ between published files; only names are sure.
        dense_first = number % 2 == 0
        values = (
            {"Dense": 1, "Vessels": 2} if dense_first else {"Vessels": 1, "Dense": 2}
        )
        dense = np.zeros_like(label)
        dense[label == 2] = values["Vessels"]
        dense[label == 3] = values["Dense"]
        write_nrrd(
            stem.with_name(stem.name + "_Breast.seg.nrrd"), breast, {"Breast": 1}
        )
        path = stem.with_name(stem.name + "_Dense_and_Vessels.seg.nrrd")
        write_nrrd(path, dense, values, reverse=reverse)
    if mapping:
        (folder / MAPPING).write_text("\n".join(rows) + "\n")
    return folder


def draw_duke(number):
    """Image as columns, rows, slices from inferior, and labels 1, 2 and 3."""
    image, label = folders.draw_case(number, SHAPE)
    label = np.where(label > 0, label + 1, 0).astype(np.uint8)
    label[1, 1:10, 1:4] = 1
    return image.astype(np.int16), label


def write_series(folder, image, explicit=True, drop=(), syntax=None):
    """One DICOM file a slice, numbered from superior to inferior."""
    folder.mkdir(parents=True, exist_ok=True)
    depth = image.shape[2]
    for index in range(depth):
        if index in drop:
            continue
        content = dicom_bytes(image[:, :, index].T, index, explicit, syntax)
        (folder / f"1-{depth - index:03d}.dcm").write_bytes(content)


def dicom_bytes(plane, index, explicit=True, syntax=None):
    """A minimal MR image; rows run to the back, columns to the left."""
    syntax = syntax or f"1.2.840.10008.1.2{'.1' if explicit else ''}"
    position = (*ORIGIN[:2], ORIGIN[2] + index * SPACING[2])

    def element(group, number, kind, value):
        value = value if isinstance(value, bytes) else value.encode()
        value += b" " * (len(value) % 2)
        head = struct.pack("<HH", group, number)
        if group != 2 and not explicit:
            return head + struct.pack("<I", len(value)) + value
        if kind in ("OB", "OW", "SQ", "UN"):
            return (
                head + kind.encode() + b"\0\0" + struct.pack("<I", len(value)) + value
            )
        return head + kind.encode() + struct.pack("<H", len(value)) + value

    def sequence():
        """Of undefined length, with an item of undefined length inside."""
        kind = b"SQ\0\0" if explicit else b""
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        item += element(0x0008, 0x1150, "UI", "1.2")
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        head = struct.pack("<HH", 0x0008, 0x1140) + kind + struct.pack("<I", 0xFFFFFFFF)
        return head + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

    meta = element(2, 0x0001, "OB", b"\0\1") + element(2, 0x0010, "UI", syntax)
    rows, columns = plane.shape
    return b"".join(
        [
            bytes(128) + b"DICM",
            element(2, 0, "UL", struct.pack("<I", len(meta))),
            meta,
            element(0x0008, 0x0060, "CS", "MR"),
            sequence(),
            element(0x0020, 0x0032, "DS", "\\".join(map(str, position))),
            element(0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
            element(0x0028, 0x0002, "US", struct.pack("<H", 1)),
            element(0x0028, 0x0010, "US", struct.pack("<H", rows)),
            element(0x0028, 0x0011, "US", struct.pack("<H", columns)),
            element(0x0028, 0x0030, "DS", f"{SPACING[1]}\\{SPACING[0]}"),
            element(0x0028, 0x0100, "US", struct.pack("<H", 16)),
            element(0x0028, 0x0103, "US", struct.pack("<H", 1)),
            element(0x7FE0, 0x0010, "OW", plane.astype("<i2").tobytes()),
        ]
    )


def write_nrrd(
    path, label, values, *, reverse=False, crop=None, layers=None, **changes
):
    """A segmentation of 3D Slicer in the image's grid.

    Args:
      path: File.
      label: Label values as columns, rows, slices from inferior.
      values: Label value of each segment.
      reverse: Store slices from superior.
      crop: Slices of each axis that are stored.
      layers: Layer of each segment; adds a first axis of layers.
      **changes: Header fields to set, or to drop where None.
    """
    crop = crop or (slice(None),) * 3
    start = np.array([part.indices(n)[0] for part, n in zip(crop, SHAPE, strict=True)])
    steps = np.diag(SPACING)
    label = label[crop]
    if reverse:
        label = label[:, :, ::-1]
        start[2] += label.shape[2] - 1
        steps[2, 2] *= -1
    origin = np.array(ORIGIN) + start * np.array(SPACING)
    vectors = " ".join(f"({x},{y},{z})" for x, y, z in steps)
    stored = label
    if layers:
        stored = np.zeros((max(layers.values()) + 1, *label.shape), label.dtype)
        for name, value in values.items():
            stored[layers[name]] += (label == value) * np.uint8(value)
        vectors = f"none {vectors}"
    fields = {
        "type": "unsigned char",
        "dimension": str(stored.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, stored.shape)),
        "space directions": vectors,
        "encoding": "gzip",
        "space origin": "({},{},{})".format(*origin),
    } | {key.replace("_", " "): value for key, value in changes.items()}
    lines = ["NRRD0004", "# made up"]
    lines += [f"{key}: {value}" for key, value in fields.items() if value is not None]
    for number, (name, value) in enumerate(values.items()):
        lines += [f"Segment{number}_Name:={name}"]
        lines += [f"Segment{number}_LabelValue:={value}"]
        lines += [f"Segment{number}_Layer:={layers[name] if layers else 0}"]
    body = stored.astype(np.uint8).tobytes(order="F")
    if fields["encoding"] == "gzip":
        body = gzip.compress(body)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + body)
