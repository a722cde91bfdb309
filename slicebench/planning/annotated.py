"""A case of the plan with the segmentation that came back, as a labelled volume."""

from slicebench.data.volumes import Volume
from slicebench.errors import InputError
from slicebench.planning.importing import CaseState, Imported


def labelled_volume(imported: Imported, state: CaseState) -> Volume:
    """Returns scan and segmentation of a case.

    Args:
      imported: Checked annotations.
      state: One of its cases.

    Raises:
      InputError: The case has no segmentation.
    """
    if state.label is None:
        raise InputError(f"{state.case}: no segmentation")
    entry = next(e for e in imported.plan["cases"] if e["case"] == state.case)
    return Volume(
        name=state.case,
        group=str(entry["group"]),
        image_paths=tuple(imported.image_paths(state.case)),
        slice_axis=imported.slice_axis(state.case),
        label_path=state.label,
    )
