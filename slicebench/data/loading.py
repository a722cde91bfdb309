"""From a dataset folder to a task that is ready for training."""

import dataclasses
import pathlib
from collections.abc import Iterator

from slicebench import errors, spec
from slicebench.data import (
    cache,
    preprocess,
    readers,
    splits,
    targets,
    validate,
    volumes,
)
from slicebench.data.prepared import PreparedCase, PreparedTask
from slicebench.data.volumes import Volume


def load_task(
    folder: str | pathlib.Path,
    *,
    target_labels: str = "all",
    slice_axis: int | None = None,
    split_seed: int = 0,
    fold: int = 0,
    splits_file: str | pathlib.Path | None = None,
    max_size: int = 96,
    multiple: int = 16,
    field_of_view: float | None = None,
    ct_window: tuple[float, float] | None = None,
    cache_dir: str | pathlib.Path | None = None,
) -> PreparedTask:
    """Validates, splits and preprocesses a dataset folder, or reads the cache.

    Args:
      folder: Dataset in nnU-Net v2 raw or Medical Segmentation Decathlon
        layout, or in one of `published.LAYOUTS`.
      target_labels: See `targets.parse_target` and `targets.label_folder`.
      slice_axis: Axis of the stored arrays that runs over slices; None takes
        dataset.json's, else the axis that is axial by affine.
      split_seed: Seed of the split.
      fold: Outer fold, from 0.
      splits_file: A user's `splits_final.json` in place of the own split.
      max_size: Largest height and width of the grid.
      multiple: Height and width of the grid are multiples of this.
      field_of_view: Side in mm of the central square kept in plane; None keeps all.
      ct_window: Intensities between which CT is told apart; None: from the pool.
      cache_dir: Cache folder; None takes $SLICEBENCH_CACHE, else
        ~/.cache/slicebench.

    Raises:
      InputError: Anything that is wrong with folder, flags or split.
    """
    settings = preprocess.Settings(
        max_size=max_size,
        multiple=multiple,
        field_of_view=field_of_view,
        ct_window=ct_window,
    )
    folder = pathlib.Path(folder)
    cache_path = cache.cache_folder(cache_dir)
    minimum = splits.MIN_PATIENTS if splits_file is None else 0
    label_folder, target_labels = targets.label_folder(target_labels)
    dataset, checked = checked_dataset(
        folder, slice_axis, minimum, cache_path, label_folder
    )
    labels = dataset.labels or targets.unlisted_labels(target_labels)
    target = targets.parse_target(target_labels, labels, dataset.regions)
    split = choose_split(dataset, checked, split_seed, fold, splits_file)
    source = dataset.source_digest(checked.files)
    key = spec.digest([cache.FORMAT, source, target, split.sides, settings], length=32)
    sides, fitted = cache.load_or_generate(
        cache_path, key, lambda: _generate(dataset, target, split, settings)
    )
    _refuse_absent(folder, target, sides, fold)
    mirror_axis = volumes.mirror_axis(dataset.volumes)
    return PreparedTask(
        name=dataset.name,
        target=target.name,
        fold=fold,
        classes=target.classes,
        channels=dataset.channels,
        grid=(fitted["grid"][0], fitted["grid"][1]),
        development=sides["development"],
        pool=sides["pool"],
        test=sides["test"],
        synthetic=False,
        flip=dataset.flip and mirror_axis is not None,
        mirror_axis=mirror_axis,
        orientation=volumes.orientation(dataset.volumes),
        attribution=dataset.attribution,
        provenance={
            "source": source,
            "format": cache.FORMAT,
            "labels": dict(zip(target.classes, map(list, target.values), strict=True)),
            "slice_axis": dataset.slice_axis,
            "split": _split_record(split, split_seed, fold, splits_file),
            "preprocessing": settings.record | fitted,
        },
    )


def _refuse_absent(
    folder: pathlib.Path, target: targets.Target, sides: cache.Sides, fold: int
) -> None:
    """Refuses classes that no network could learn, or that nothing could score.

    Raises:
      InputError: Naming every class that the pool's grid or the test cases lack.
    """
    places = {
        "pool": [case.label for case in sides["pool"]],
        "test part": [case.native_label for case in sides["test"]],
    }
    faults = [
        f"class {name} occurs in no case of the {place} of fold {fold}"
        for place, labels in places.items()
        for index, name in enumerate(target.classes, start=1)
        if not any((label == index).any() for label in labels)
    ]
    if faults:
        raise errors.gather(
            f"{folder} (leave the class out by --target_labels, join it to another by "
            "+, or give another --split_seed or --splits_file)",
            faults,
        )


def _split_record(
    split: splits.Split, seed: int, fold: int, path: str | pathlib.Path | None
) -> dict[str, object]:
    return {
        "seed": seed,
        "fold": fold,
        "num_folds": split.num_folds,
        "by": "seed" if path is None else "file",
    }


def checked_dataset(
    folder: pathlib.Path,
    slice_axis: int | None,
    min_patients: int,
    cache_path: pathlib.Path | None,
    label_folder: str = targets.LABEL_FOLDER,
) -> tuple[readers.Dataset, validate.Validation]:
    """Validates a folder, or takes the kept result where no file has changed.

    Args:
      folder: Dataset folder.
      slice_axis: See `load_task`.
      min_patients: Fewest patients that the split needs.
      cache_path: Cache folder; None always validates and keeps nothing.
      label_folder: See `readers.scan_dataset`.

    Raises:
      InputError: With every fault found.
    """
    dataset, faults = readers.scan_dataset(folder, slice_axis, label_folder)
    subject = folder if label_folder == targets.LABEL_FOLDER else folder / label_folder
    patients = len({case.group for case in dataset.volumes})
    if cache_path is None or faults or patients < min_patients:
        return validate.validate_dataset(
            folder, slice_axis, min_patients=min_patients, label_folder=label_folder
        )
    kept = cache.read_index(cache_path, subject, dataset.files)
    if kept is not None:
        return dataset, validate.Validation(**kept)
    # Taken before reading: a file changed while it is read is read again.
    state = cache.file_state(dataset.files)
    dataset, checked = validate.validate_dataset(
        folder, slice_axis, min_patients=min_patients, label_folder=label_folder
    )
    cache.write_index(cache_path, subject, state, dataclasses.asdict(checked))
    return dataset, checked


def choose_split(
    dataset: readers.Dataset,
    checked: validate.Validation,
    seed: int,
    fold: int,
    path: str | pathlib.Path | None,
) -> splits.Split:
    """Splits a validated dataset by seed, or by a user's file.

    Raises:
      InputError: No such fold, or the same patient or voxels on two sides.
    """
    cases = [case.name for case in dataset.volumes]
    groups = [case.group for case in dataset.volumes]
    if path is None:
        split = splits.make_split(cases, groups, seed, fold)
    else:
        split = splits.split_from_file(path, cases, groups, seed, fold)
    try:
        splits.check_split(split, dict(zip(cases, groups, strict=True)), checked.voxels)
    except errors.InputError as error:
        raise errors.InputError(f"{dataset.folder}: {error}") from None
    return split


def _generate(
    dataset: readers.Dataset,
    target: targets.Target,
    split: splits.Split,
    settings: preprocess.Settings,
) -> cache.Generated:
    by_name = {case.name: case for case in dataset.volumes}
    sides = {
        side: [by_name[name] for name in names] for side, names in split.sides.items()
    }
    fitted = preprocess.fit(sides["pool"], dataset.channels, settings)

    def prepare(cases: list[Volume]) -> Iterator[PreparedCase]:
        return (preprocess.prepare_case(case, fitted, target) for case in cases)

    return cache.Generated(
        grid=fitted.grid,
        channels=len(dataset.channels),
        record=preprocess.fitted_record(
            dataset.channels,
            [case for cases in sides.values() for case in cases],
            fitted,
        ),
        sides={side: prepare(cases) for side, cases in sides.items()},
    )
