"""Kept weights applied to new scans: label maps on the scans' own grids."""

from slicebench.predict.networks import Ensemble
from slicebench.predict.scans import TurnedScan, find_turned_scans
from slicebench.predict.weights import Trained, read_trained
from slicebench.predict.writing import predict_folder

__all__ = [
    "Ensemble",
    "Trained",
    "TurnedScan",
    "find_turned_scans",
    "predict_folder",
    "read_trained",
]
