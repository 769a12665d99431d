"""Deep features of the UNet, computed every few steps and reused between them.

DeepCache, Ma et al. 2023, arXiv:2312.00858: what a UNet's inner blocks give changes little from
step to step. So it is kept with the picture, and most steps compute the outermost level alone.
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
    """step: the next; rows: of it; deep: features of the latest whole step, [rows, dim, h, w]."""

    step: int
    deep: torch.Tensor | None

    @property
    def rows(self) -> int: ...


P = TypeVar("P", bound=Picture)
Inputs = Callable[[Sequence[P]], Tensors]


class DeepCache:
    """Two runtimes for one UNet; what is kept between calls lies with the pictures.

    every: so many steps of a picture, counted from its first, is one of the whole UNet.
    """

    def __init__(self, unet: Any, card: ModelCard, open_network: Opener, every: int) -> None:
        unet_levels.check(unet.config)
        self.every = every
        self.whole = open_network(networks.unet(unet, card, with_deep=True))
        self.shallow = open_network(networks.unet_shallow(unet, card))

    def predict(self, batch: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        """At most two calls: of the whole UNet for those whose turn it is, of the shallow part
        for the others. inputs: the UNet's for some pictures.

        Returns for each picture its rows: [rows, channels, h, w].
        """
        due = [self._is_due(picture) for picture in batch]
        cached = list(compress(batch, [not one for one in due]))
        # The whole ones last: a call that fails leaves no picture changed, and is tried again.
        shallow = iter(self._shallow(cached, inputs) if cached else ())
        whole = iter(self._whole(list(compress(batch, due)), inputs) if any(due) else ())
        return [next(whole if one else shallow) for one in due]

    def _is_due(self, picture: Picture) -> bool:
        """Also where guidance has just set in or ended, since features belong to a row."""
        kept = 0 if picture.deep is None else len(picture.deep)
        return kept != picture.rows or picture.step % self.every == 0

    def _shallow(self, pictures: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        deep = torch.cat([one.deep for one in pictures if one.deep is not None])
        (predictions,) = self.shallow(deep, *inputs(pictures))
        return split(predictions, pictures)

    def _whole(self, pictures: Sequence[P], inputs: Inputs[P]) -> list[torch.Tensor]:
        predictions, deep = self.whole(*inputs(pictures))
        for picture, own in zip(pictures, split(deep, pictures), strict=True):
            picture.deep = own.clone()  # a view would keep the features of the whole batch
        return split(predictions, pictures)


def split(tensor: torch.Tensor, pictures: Sequence[Picture]) -> list[torch.Tensor]:
    return list(torch.split(tensor, [picture.rows for picture in pictures]))
