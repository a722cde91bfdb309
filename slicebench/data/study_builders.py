"""TFDS builders of the source study's data sets, from a manual folder.

They hold volumes as published: stored voxels with the slice axis first, label
values, spacing and affine. `--data=FOLDER` does not need them: it reads the
same folder in place. They are for use from TFDS, by name:

    import slicebench.data.study_builders
    builder = tfds.builder("lits17", file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=FOLDER))
    cases = builder.as_data_source(split="train")
"""

import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from slicebench.data import published, validate
from slicebench.data._layout import Layout


class StudyBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the cases of a published data set after checking all of them.

    Attributes:
      LAYOUT: How the data set is laid out and labelled.
    """

    VERSION = tfds.core.Version("1.0.0")
    LAYOUT: ClassVar[Layout]

    def _info(self) -> tfds.core.DatasetInfo:
        def array(dtype: type, *shape: int | None) -> tfds.features.Tensor:
            return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.LAYOUT.name}: volumes as published, slices first.",
            citation=self.LAYOUT.attribution,
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "group": tfds.features.Text(),
                    "image": array(np.float32, None, None, None, None),
                    "label": array(np.uint8, None, None, None),
                    "spacing": array(np.float64, 3),
                    "affine": array(np.float64, 4, 4),
                    "slice_axis": np.int64,
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = pathlib.Path(dl_manager.manual_dir)
        found = published.detect(folder)
        if found is not self.LAYOUT:
            raise published.mismatch(folder, self.LAYOUT, found)
        dataset, _ = validate.validate_dataset(folder)
        return {"train": self._generate_examples(dataset.volumes)}

    def _generate_examples(self, volumes: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for volume in volumes:
            yield (
                volume.name,
                {
                    "name": volume.name,
                    "group": volume.group,
                    "image": volume.load_image(),
                    "label": volume.load_label(),
                    "spacing": np.array(volume.spacing),
                    "affine": np.ascontiguousarray(volume.affine),
                    "slice_axis": volume.slice_axis,
                },
            )


class Lits17(StudyBuilder):
    """LiTS17: liver (labels 1 and 2) and liver tumour (label 2) in CT."""

    LAYOUT = published.LAYOUTS["lits17"]
    MANUAL_DOWNLOAD_INSTRUCTIONS = LAYOUT.instructions


class AtlasR2(StudyBuilder):
    """ATLAS R2.0: stroke lesions on T1-weighted MRI."""

    LAYOUT = published.LAYOUTS["atlas_r2"]
    MANUAL_DOWNLOAD_INSTRUCTIONS = LAYOUT.instructions


class DukeBreast(StudyBuilder):
    """Duke-Breast-Cancer-MRI, dense labels: breast, vessels and FGT."""

    LAYOUT = published.LAYOUTS["duke_breast"]
    MANUAL_DOWNLOAD_INSTRUCTIONS = LAYOUT.instructions
