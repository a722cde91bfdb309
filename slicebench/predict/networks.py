"""Several networks of one program, and the mean of their probabilities."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float, UInt8

from slicebench.data import preprocess
from slicebench.data.prepared import PreparedCase
from slicebench.evaluation.inference import Predictor, make_predictor
from slicebench.evaluation.native import prepare_native_map, to_native_labels
from slicebench.predict.scans import TurnedScan
from slicebench.predict.weights import Trained
from slicebench.runner.plans import choose_plan
from slicebench.training.engine import TRIAL_AXIS, Plan, trial_mesh
from slicebench.training.step import Params


class Ensemble:
    """Networks on the devices; compiled at the first scan.

    Args:
      trained: Networks and their training.
    """

    def __init__(self, trained: Trained):
        self._trained = trained
        count = len(trained.params)
        devices = min(jax.local_device_count(), count)
        layout = choose_plan(trained.program).layout
        self._plan = Plan(devices=devices, trials_per_device=1, layout=layout)
        split = NamedSharding(trial_mesh(devices), PartitionSpec(TRIAL_AXIS))
        # The last batch is filled up with a network that is left out of the mean.
        padded = [*trained.params, *[trained.params[-1]] * (-count % devices)]
        self._batches = [
            jax.device_put(_stack(padded[start : start + devices]), split)
            for start in range(0, len(padded), devices)
        ]
        self._predictor: Predictor | None = None

    def probabilities(
        self, case: PreparedCase
    ) -> Float[np.ndarray, "depth height width class"]:
        """Returns the mean over networks of class probabilities on the grid."""
        if self._predictor is None:
            self._predictor = make_predictor(
                self._trained.program, self._plan, [case], hard=False
            )
        else:
            self._predictor.use([case])
        total: Any = 0.0
        left = len(self._trained.params)
        for params in self._batches:
            found = self._predictor.predict(params)[:left]
            left -= len(found)
            total = total + found.sum(axis=0)
        return total / len(self._trained.params)

    def predict(self, scan: TurnedScan) -> UInt8[np.ndarray, "first second third"]:
        """Returns the label map of a scan, in the order and on the grid of its file."""
        case = _prepare(scan, self._trained.fitted)
        labels = to_native_labels(self.probabilities(case), prepare_native_map(case))
        return scan.to_stored(labels)


def _stack(params: Sequence[Params]) -> Params:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *params)


def _prepare(scan: TurnedScan, fitted: preprocess.Fitted) -> PreparedCase:
    image = preprocess.prepare_image(scan, fitted)
    return PreparedCase(
        name=scan.name,
        group=scan.group,
        image=image,
        label=np.zeros(image.shape[:3], np.uint8),
        native_label=np.zeros(scan.shape, np.uint8),
        spacing=scan.spacing,
        to_native=preprocess.to_native(scan, fitted),
    )
