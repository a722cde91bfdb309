"""What a phantom task is made of: its size, its spread and what to expect."""

import dataclasses
from typing import Literal

Scene = Literal[
    "organ", "lesions", "vessels", "stroke", "independent", "aligned", "rare"
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomSpec:
    """A synthetic task, drawn from a seed.

    Spreads are standard deviations between patients. Of every random quantity
    that varies along depth, `patient_share` of the variance is constant in a
    patient and the rest has the correlation exp(-d^2 / (2 l^2)) at d slices,
    with l = `correlation_length`.

    Attributes:
      name: Task name.
      scene: Which drawing is used.
      target: Class name of the foreground.
      mirrors: The kind of target or the failure that it stands for.
      expected: What follows by construction, in one sentence.
      cases: Cases for development, pool and test.
      smoke_cases: The same in smoke mode.
      grid: Height and width.
      smoke_grid: The same in smoke mode.
      depths: Smallest and largest number of slices; drawn uniformly.
      spacing: Slice distance, row and column spacing in mm.
      shape_spread: Relative deformation of outlines and sizes.
      pose_spread: Shift of the patient, as a share of half the grid's side.
      coverage_spread: Shift of the scanned range along the body, as a share of
        half the stack; the range's length varies by half as much.
      contrast_spread: Spread of the target's contrast, relative to the
        scene's own unit (1: as drawn by default).
      second_protocol: Share of patients scanned with the scene's second
        protocol (breast: fat not suppressed, so the contrast is reversed).
      bias_spread: Logarithmic amplitude of the MRI bias field.
      noise: Median standard deviation of voxel noise in the image's unit (HU
        for CT; 1 is about the range of tissues for MRI).
      noise_spread: Logarithmic spread of that noise between patients.
      patient_share: Share of variance that is constant in a patient.
      correlation_length: Along-depth correlation length in slices.
      empty_cases: Share of cases without foreground.
      rare_volumes: Share of pool volumes that hold one slice of a rare style.
      rare_scored: Share of slices of that style in development and test cases.
      normalisation: `clip` (window, then one mean and standard deviation
        fitted on the pool) or `z_score` (each volume by itself).
      window: Lower and upper limit for `clip`.
      flip: Whether mirroring left to right keeps the meaning.
    """

    name: str
    scene: Scene
    target: str
    mirrors: str
    expected: str
    cases: tuple[int, int, int] = (14, 96, 40)
    smoke_cases: tuple[int, int, int] = (3, 14, 4)
    grid: tuple[int, int] = (48, 48)
    smoke_grid: tuple[int, int] = (32, 32)
    depths: tuple[int, int] = (14, 20)
    spacing: tuple[float, float, float] = (8.0, 8.0, 8.0)
    shape_spread: float = 0.1
    pose_spread: float = 0.06
    coverage_spread: float = 0.2
    contrast_spread: float = 1.0
    second_protocol: float = 0.0
    bias_spread: float = 0.0
    noise: float = 0.05
    noise_spread: float = 0.3
    patient_share: float = 0.2
    correlation_length: float = 1.2
    empty_cases: float = 0.0
    rare_volumes: float = 0.0
    rare_scored: float = 0.0
    normalisation: Literal["clip", "z_score"] = "z_score"
    window: tuple[float, float] = (-160.0, 240.0)
    flip: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CasePlan:
    """What one case of a task is to hold.

    Attributes:
      empty: Whether it has no foreground.
      rare_slices: Number of slices of the rare style.
    """

    empty: bool
    rare_slices: int
