"""How sharp and clean a picture is: the width of edges, colour fringes and uneven areas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from training.judge import FRAME, masks

NEAR = 4  # pixels around an edge that belong to it
LOW, HIGH = 0.1, 0.9

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Sharpness:
    """Of one picture.

    edge: pixels in which the colour goes from 10 % to 90 % of the way between two areas.
    fringe: how far, of 255, the colours of the edges lie off the line between the two areas'; the
    95th percentile. uneven: how far, of 255, pixels of an area lie off its median; likewise the
    99th.
    """

    edge: float
    fringe: float
    uneven: float


def sharpness(image: Image.Image) -> Sharpness | None:
    """None where nothing is to be seen."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    border = np.ones(pixels.shape[:2], dtype=bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    patches = masks(pixels, pixels[border])
    if not patches:
        return None
    ground = np.median(pixels[border], axis=0)
    covered = np.any(patches, axis=0)
    flats = [pixels[~ndimage.binary_dilation(covered, iterations=NEAR)] - ground]
    width, length, fringes = 0.0, 0.0, []
    for mask in patches:
        inner = ndimage.binary_erosion(mask, iterations=NEAR // 2)
        shade = np.median(pixels[inner if inner.any() else mask], axis=0)
        if inner.any():
            flats.append(pixels[inner] - shade)
        others = covered & ~mask
        near = ndimage.binary_dilation(mask, iterations=NEAR)
        near &= ~ndimage.binary_dilation(others, iterations=NEAR)
        way = shade - ground
        share = (pixels - ground) @ way / (way @ way)
        width += float(((share > LOW) & (share < HIGH) & near).sum())
        length += _length(share, near)
        off = pixels - ground - share.clip(0, 1)[..., None] * way
        edge = near & ~ndimage.binary_erosion(mask, iterations=NEAR // 2)
        fringes.append(np.abs(off[edge]).max(axis=-1))
    uneven = np.concatenate([np.abs(flat).max(axis=-1) for flat in flats])
    return Sharpness(
        edge=width / length,
        fringe=float(np.percentile(np.concatenate(fringes), 95)),
        uneven=float(np.percentile(uneven, 99)),
    )


def _length(share: Plane, near: NDArray[np.bool_]) -> float:
    """Of the edges, by the coarea formula: the sum of the slopes, from 0 to 1 across an edge."""
    rows, columns = np.gradient(share.clip(0, 1))
    return float(np.hypot(rows, columns)[near].sum())
