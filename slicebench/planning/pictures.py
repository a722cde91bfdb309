"""Small pictures of slices for worklists, as a radiologist would see them."""

# pillow ships types of its own; SciPy does not.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from slicebench.data.intensity import fit_window, is_ct
from slicebench.data.volumes import Scan
from slicebench.planning.geometry import upright

_CT_WIDTH = 500.0
"""Width of the soft-tissue window, in Hounsfield units."""
_TAILS = (1.0, 99.0)


def window(
    image: Float[np.ndarray, "depth height width"], channel: str
) -> tuple[float, float]:
    """Returns the values shown black and white.

    Args:
      image: A volume.
      channel: Its name; `CT` has a soft-tissue window round the mean of the body,
        wherever the zero of its numbers lies, all else the first and 99th percentile.
    """
    if is_ct(channel):
        middle = fit_window(lambda: [image]).mean
        return middle - _CT_WIDTH / 2, middle + _CT_WIDTH / 2
    low, high = np.percentile(image, _TAILS)
    return float(low), float(high) if high > low else float(low) + 1.0


def grey(
    plane: Float[np.ndarray, "rows columns"], limits: tuple[float, float]
) -> UInt8[np.ndarray, "rows columns"]:
    """Maps a plane to grey values, 0 at the lower limit and 255 at the upper."""
    low, high = limits
    share = np.clip((plane - low) / (high - low), 0.0, 1.0)
    return np.rint(255 * share).astype(np.uint8)


class Planes:
    """Upright grey planes of one scan, scaled to square pixels.

    Args:
      scan: Where they come from; read once.
      channel: Name of the first channel, the one that is shown.
      longest: Pixels of the longer side.
    """

    def __init__(self, scan: Scan, channel: str, longest: int):
        self._image = scan.load_image()[0]
        self._limits = window(self._image, channel)
        self._turn = upright(scan.affine, scan.slice_axis)
        shape = self._turn.apply(self._image[0]).shape
        rows, columns = (
            size * step for size, step in zip(shape, self._turn.spacing, strict=True)
        )
        scale = longest / max(rows, columns)
        self.size = max(1, round(columns * scale)), max(1, round(rows * scale))

    @property
    def depth(self) -> int:
        """Number of slices."""
        return len(self._image)

    def native(self, index: int) -> UInt8[np.ndarray, "rows columns"]:
        """Returns a plane turned upright, at its own resolution."""
        return grey(self._turn.apply(self._image[index]), self._limits)

    def picture(self, index: int) -> Image.Image:
        """Returns a plane at the size of the worklist."""
        shown = Image.fromarray(np.ascontiguousarray(self.native(index)))
        return shown.resize(self.size, Image.Resampling.BILINEAR, reducing_gap=None)


def png(picture: Image.Image) -> bytes:
    """Returns a picture as PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def jpeg(picture: Image.Image, quality: int = 70) -> bytes:
    """Returns a picture as JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
