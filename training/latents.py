"""The latents of a scene, by arithmetic: the picture at an eighth of its size, and a mask.

Channels 0 to 2 are red, green and blue, channel 3 is how much of the cell an object covers. All
objects stand on the grid of cells, so each shape has one pattern of cover in each size, and a
scene's latents are put together from these patterns without a network. The autoencoder is trained
to read and write the same latents (`autoencoder.py`).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from training.world import GRID, IMAGE_SIZE, PALETTE, RADII, Object, Scene, draw

LATENT_SIZE = IMAGE_SIZE // GRID
CHANNELS = 4
MIDDLE = IMAGE_SIZE // 2
COLOUR_SCALE, COLOUR_MIDDLE = 3.0, 0.5  # of 0…1, so that each channel varies by about one
COVER_SCALE, COVER_MIDDLE = 2.5, 0.2
OBJECT_WEIGHT = 256.0  # the sum over a picture's objects; that of all cells is 256

Plane = NDArray[np.float32]


@cache
def cover(shape: str, size: str) -> Plane:
    """How much of each pixel the shape covers when it stands in the middle, [128, 128] in 0…1."""
    item = Object(shape, "white", size, MIDDLE, MIDDLE, RADII[size])
    return cover_of(item)


def cover_of(item: Object) -> Plane:
    """How much of each pixel the object covers, [128, 128] in 0…1."""
    black, white = PALETTE["black"][0], PALETTE["white"][0]
    drawn = draw(Scene("black", (Object(item.shape, "white", "", item.x, item.y, item.radius),)))
    pixels = np.asarray(drawn)[..., 0].astype(np.float32)
    covered: Plane = np.clip((pixels - black) / (white - black), 0, 1)
    return covered


@cache
def cell_cover(shape: str, size: str) -> Plane:
    """`cover` averaged over the latents' cells, [16, 16]."""
    cells = cover(shape, size).reshape(LATENT_SIZE, GRID, LATENT_SIZE, GRID)
    mean: Plane = cells.mean(axis=(1, 3))
    return mean


def compose(scene: Scene, side: int) -> tuple[Plane, Plane]:
    """A scene on the grid: colours [3, side, side] in 0…1, cover [side, side].

    side: 16 for the latents' cells, 128 for pixels.
    """
    step = IMAGE_SIZE // side
    pattern = cell_cover if side == LATENT_SIZE else cover
    picture = np.empty((3, side, side), np.float32)
    picture[:] = np.array(PALETTE[scene.background], np.float32)[:, None, None] / 255
    covered = np.zeros((side, side), np.float32)
    for item in scene.objects:
        shift = round((item.y - MIDDLE) / step), round((item.x - MIDDLE) / step)
        part = np.roll(pattern(item.shape, item.size), shift, (0, 1))
        colour = np.array(PALETTE[item.colour], np.float32)[:, None, None] / 255
        picture += part * (colour - picture)
        covered += part
    return picture, covered


def compose_anywhere(scene: Scene, side: int) -> tuple[Plane, Plane]:
    """As `compose`, for objects of any radius that stand anywhere; slower."""
    whole = np.asarray(draw(scene)).transpose(2, 0, 1).astype(np.float32) / 255
    covered = np.sum([cover_of(item) for item in scene.objects], axis=0, dtype=np.float32)
    step = IMAGE_SIZE // side
    if step == 1:
        return whole, covered
    cells = whole.reshape(3, side, step, side, step).mean(axis=(2, 4))
    return cells, covered.reshape(side, step, side, step).mean(axis=(1, 3))


def to_latents(picture: Plane, covered: Plane) -> Plane:
    """Colours and cover in 0…1 by cell to scaled latents [4, 16, 16]."""
    colours = (picture - COLOUR_MIDDLE) * COLOUR_SCALE
    return np.concatenate([colours, (covered[None] - COVER_MIDDLE) * COVER_SCALE])


def scene_latents(scene: Scene) -> Plane:
    """Of a scene on the grid, [4, 16, 16]."""
    return to_latents(*compose(scene, LATENT_SIZE))


def latents_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """Of scenes on the grid, [n, 4, 16, 16]."""
    return torch.from_numpy(np.stack([scene_latents(scene) for scene in scenes]))


def object_weights(latents: torch.Tensor) -> torch.Tensor:
    """Weights [n, 4, 16, 16] of the cells' errors: 1, and more in and around objects.

    Each picture's objects share the same sum, whatever their size, so that a small shape teaches
    as much as a large one.
    """
    covered = (latents[:, 3:] > COVER_SCALE * (0.02 - COVER_MIDDLE)).float()
    near = functional.max_pool2d(covered, 3, stride=1, padding=1)
    cells = near.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return (1 + OBJECT_WEIGHT * near / cells).expand_as(latents)
