"""Volumes, readers, phantoms, splits and preprocessing."""

from slicebench.data._metadata import dataset_name
from slicebench.data.loading import load_task
from slicebench.data.prepared import PreparedCase, PreparedScan, PreparedTask
from slicebench.data.preprocess import Settings
from slicebench.data.readers import Dataset, read_dataset
from slicebench.data.splits import Split, make_split, num_folds_for, split_from_file
from slicebench.data.targets import Target, parse_target
from slicebench.data.validate import Validation, validate_dataset
from slicebench.data.volumes import Volume

__all__ = [
    "Dataset",
    "PreparedCase",
    "PreparedScan",
    "PreparedTask",
    "Settings",
    "Split",
    "Target",
    "Validation",
    "Volume",
    "dataset_name",
    "load_task",
    "make_split",
    "num_folds_for",
    "parse_target",
    "read_dataset",
    "split_from_file",
    "validate_dataset",
]
