"""DeepCache: deep features of the UNet are computed every few steps, and reused between them.

Ma et al. 2023, arXiv:2312.00858. The outputs of a UNet's inner blocks change little from step to
step. They are kept with each picture, so that most steps compute the outermost level alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Protocol, TypeVar

import torch

from ray_stages.families import networks, unet_levels
from ray_stages.requests.model_card import ModelCard
from ray_stages.runtimes.network import Opener, Tensors


class Picture(Protocol):
    """The state of one picture.

    step: the next step; rows: of the next step; deep: features of the latest step that computed the
    whole UNet, [rows, dim, h, w].
    """

    step: int
    deep: torch.Tensor | None

    @property
    def rows(self) -> int: ...


P = TypeVar("P", bound=Picture)
Inputs = Callable[[Sequence[P]], Tensors]


class DeepCache:
    """One UNet on two runtimes: whole and shallow. The pictures hold the cached features.

    every: the whole UNet is computed once in so many steps of a picture, beginning with its first.
    Raises ValueError if the UNet cannot be split.
    """

    def __init__(self, unet: Any, card: ModelCard, open_network: Opener, every: int) -> None:
        unet_levels.check_splittable(unet.config)
        self.every = every
        self.whole = open_network(networks.unet(unet, card, with_deep=True))
        self.shallow = open_network(networks.unet_shallow(unet, card))

    def predict(self, batch: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        """Computes the next prediction of each picture in at most two calls.

        inputs: returns the UNet's inputs for some pictures. Returns for each picture its rows:
        [rows, channels, h, w].
        """
        due = [self._is_due(picture) for picture in batch]
        cached = list(compress(batch, [not one for one in due]))
        # The whole UNet comes last: a failed call is repeated, so it must change no picture.
        shallow = iter(self._shallow(cached, inputs) if cached else ())
        whole = iter(self._whole(list(compress(batch, due)), inputs) if any(due) else ())
        return [next(whole if one else shallow) for one in due]

    def _is_due(self, picture: Picture) -> bool:
        """Whether the whole UNet is due; also if guidance changed the number of rows."""
        kept = 0 if picture.deep is None else len(picture.deep)
        return kept != picture.rows or picture.step % self.every == 0

    def _shallow(self, pictures: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        deep = torch.cat([one.deep for one in pictures if one.deep is not None])
        (predictions,) = self.shallow(deep, *inputs(pictures))
        return split_rows(predictions, pictures)

    def _whole(self, pictures: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        predictions, deep = self.whole(*inputs(pictures))
        for picture, own in zip(pictures, split_rows(deep, pictures), strict=True):
            picture.deep = own.clone()  # a view would keep the whole batch in memory
        return split_rows(predictions, pictures)


def split_rows(tensor: torch.Tensor, pictures: Sequence[Picture]) -> list[torch.Tensor]:
    """Splits the rows of a batch into those of each picture."""
    return list(torch.split(tensor, [picture.rows for picture in pictures]))
