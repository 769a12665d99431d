"""A neural network, and the interface of the runtimes that compute it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from ray_stages.errors import StageFailed

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Input:
    """An input of a network.

    dims: a number, or a name if the size may differ between calls; values: makes a tensor of
    plausible values for a shape.
    """

    name: str
    dims: tuple[int | str, ...]
    values: Callable[[Sequence[int]], torch.Tensor] = torch.randn


@dataclass(frozen=True)
class Network:
    """A PyTorch module with described inputs and outputs.

    module: takes and returns tensors on its own device; usual_sizes: sizes of the named dims;
    odd_sizes: other sizes, chosen so that a traced graph that is right for both is right for all.
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    usual_sizes: Mapping[str, int] = field(default_factory=dict)
    odd_sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def example(self, rows: int, *, odd: bool = False) -> Tensors:
        """Returns example inputs, always with the same values; odd: of `odd_sizes`."""
        sizes = {"rows": rows, **self.usual_sizes, **(self.odd_sizes if odd else {})}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rows)
            made = [
                one.values([sizes[dim] if isinstance(dim, str) else dim for dim in one.dims])
                for one in self.inputs
            ]
        return cast_floats([tensor.to(self.device) for tensor in made], self.dtype)

    @cached_property
    def digest(self) -> str:
        """A digest of weights, structure, inputs and outputs: 16 hexadecimal digits."""
        signature = [(one.name, one.dims) for one in self.inputs], self.outputs
        content = hashlib.sha256(f"{self.module} {signature}".encode())
        for name, tensor in self.module.state_dict().items():
            content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            content.update(tensor.cpu().flatten().view(torch.uint8).numpy())
        return content.hexdigest()[:16]


def cast_floats(tensors: Sequence[torch.Tensor], dtype: torch.dtype) -> Tensors:
    """Converts floating-point tensors to `dtype`; integer tensors, such as token ids, stay."""
    return tuple(one.to(dtype) if one.is_floating_point() else one for one in tensors)


@dataclass(frozen=True)
class Runtime:
    """An opened network: takes the network's inputs and returns its outputs, in any sizes.

    specialize: makes later calls with inputs of the same shapes faster, if the runtime can do so;
    network: name of the network, for errors; exact: computes the same in float32, or None if
    `compute` does.
    """

    name: str
    precision: str
    compute: Callable[..., Tensors]
    specialize: Callable[..., None] | None = None
    network: str = "the network"
    exact: Callable[..., Tensors] | None = None

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Computes the network, and rows with values that are not finite again by `exact`.

        Raises StageFailed if they are still not finite: no picture is ever made of such values.
        """
        outputs = self.compute(*inputs)
        bad = ~_finite_rows(outputs)
        return self._recompute(inputs, outputs, bad) if bool(bad.any()) else outputs

    def _recompute(self, inputs: Tensors, outputs: Tensors, bad: torch.Tensor) -> Tensors:
        if self.exact is None:
            raise self._not_finite("")
        exact = self.exact(*(one[bad] for one in inputs))
        if not bool(_finite_rows(exact).all()):
            raise self._not_finite(", nor in float32")
        outputs = tuple(one.clone() for one in outputs)
        for output, rows in zip(outputs, exact, strict=True):
            output[bad] = rows.to(output)
        return outputs

    def _not_finite(self, more: str) -> StageFailed:
        return StageFailed(
            f"{self.network}: the result is not finite in {self.precision} on {self.name}{more}; "
            "the weights of the checkpoint overflow here: a variant of it that was made for half "
            "precision, another seed or fewer guidance may help"
        )

    def prepare(self, *inputs: torch.Tensor) -> None:
        """Prepares calls with inputs of these shapes. It may take a second."""
        if self.specialize:
            self.specialize(*inputs)
        self.compute(*inputs)

    def __str__(self) -> str:
        return f"{self.name}/{self.precision}"


def _finite_rows(outputs: Tensors) -> torch.Tensor:
    """bool [rows]: which rows of all outputs have finite values only."""
    return torch.stack([one.isfinite().flatten(1).all(1) for one in outputs]).all(0)


Opener = Callable[[Network], Runtime]
