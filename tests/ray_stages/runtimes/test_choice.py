"""`auto` chooses the fastest accurate runtime, and measures once, whatever other runtimes do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from ray_stages.runtimes import catalog, choice
from ray_stages.runtimes.network import Input, Network, Runtime, Tensors
from ray_stages.runtimes.target import Target


class Twice(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> Tensors:
        return (self.factor * x,)


def network(module: torch.nn.Module | None = None) -> Network:
    return Network("unet", module or Twice(), (Input("x", ("rows", 3)),), ("y",))


def slow_by(seconds: float, factor: float = 2.0) -> Callable[[torch.Tensor], Tensors]:
    def compute(x: torch.Tensor) -> Tensors:
        time.sleep(seconds)
        return (factor * x,)

    return compute


@dataclass
class FakeRuntime:
    """A runtime; computes: the function of each precision."""

    NAME: str
    computes: dict[str, Callable[[torch.Tensor], Tensors]]
    REQUIRED_PACKAGES: tuple[str, ...] = ()
    opened: list[str] = field(default_factory=list)

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        return tuple(self.computes)

    def open_network(self, network: Network, precision: str, target: Target) -> Runtime:
        self.opened.append(precision)
        return Runtime(self.NAME, precision, self.computes[precision])


class Machine:
    """A machine with only the installed fake runtimes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.target = Target(torch.device("cpu"), 1, folder, lambda name: [])
        self.monkeypatch = monkeypatch

    def install(self, *modules: FakeRuntime) -> None:
        modules_by_name = {module.NAME: module for module in modules}
        for patched in (catalog, choice):
            self.monkeypatch.setattr(patched, "RUNTIME_MODULES", modules_by_name)
        self.monkeypatch.setattr("ray_stages.runtimes.measurement.RUNTIME_MODULES", modules_by_name)
        self.monkeypatch.setitem(choice.AUTO_CANDIDATES, "cpu", tuple(modules_by_name))

    def open_network(self, runtime: str = "auto", precision: str = "auto") -> str:
        return str(choice.open_fastest(network(), self.target, runtime, precision))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_fastest_is_taken(machine: Machine) -> None:
    machine.install(
        FakeRuntime("slow", {"float32": slow_by(0.02)}),
        FakeRuntime("fast", {"float32": slow_by(0.001)}),
    )
    assert machine.open_network() == "fast/float32"


def test_half_precision_comes_first_where_it_is_right(machine: Machine) -> None:
    full = FakeRuntime("full", {"float32": slow_by(0)})
    machine.install(
        full, FakeRuntime("half", {"bfloat16": slow_by(0, 2.01), "float32": slow_by(0)})
    )
    assert machine.open_network() == "half/bfloat16"
    assert full.opened == []
    assert machine.open_network(precision="float32") in ("half/float32", "full/float32")


def test_what_is_wrong_is_not_taken_however_fast(machine: Machine) -> None:
    machine.install(
        FakeRuntime("wrong", {"bfloat16": slow_by(0, 2.5), "float32": slow_by(0, 2.01)}),
        FakeRuntime("broken", {"float32": lambda x: (x / 0,)}),
        FakeRuntime("right", {"float32": slow_by(0.01)}),
    )
    assert machine.open_network() == "right/float32"
    machine.install(FakeRuntime("wrong", {"bfloat16": slow_by(0, 3), "float32": slow_by(0, 3)}))
    with pytest.raises(ValueError, match=r"no runtime is right for unet: .*off by 5\.0e-01"):
        machine.open_network()


def test_what_cannot_be_opened_is_passed_over(machine: Machine) -> None:
    def fail(x: torch.Tensor) -> Tensors:
        raise RuntimeError("no kernel for this\nand a long stack")

    machine.install(
        FakeRuntime("fails", {"float32": fail}),
        FakeRuntime("right", {"float32": slow_by(0)}),
    )
    assert machine.open_network() == "right/float32"


def test_it_is_measured_once_and_said_each_time(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    first, second = (
        FakeRuntime("a", {"float32": slow_by(0)}),
        FakeRuntime("b", {"float32": slow_by(0.01)}),
    )
    machine.install(first, second)
    for _ in range(2):
        assert machine.open_network() == "a/float32"
    assert (first.opened, second.opened) == (["float32"] * 3, ["float32"])
    assert caplog.text.count("event=fastest stage=unet took=a/float32 saw=a/float32:") == 2


def test_other_weights_or_threads_are_measured_again(machine: Machine) -> None:
    first, second = (
        FakeRuntime("a", {"float32": slow_by(0)}),
        FakeRuntime("b", {"float32": slow_by(0)}),
    )
    machine.install(first, second)
    machine.open_network()
    other = Twice()
    other.factor.data.fill_(3)
    with pytest.raises(ValueError, match="no runtime is right"):
        choice.open_fastest(network(other), machine.target, "auto", "auto")
    machine.target = Target(machine.target.device, 2, machine.target.cache_dir, lambda name: [])
    machine.open_network()
    assert len(second.opened) >= 3


def test_a_named_runtime_is_not_measured(machine: Machine) -> None:
    slow = FakeRuntime("slow", {"float32": slow_by(0), "int8": slow_by(0, 2.5)})
    machine.install(slow, FakeRuntime("fast", {"float32": slow_by(0)}))
    assert machine.open_network("slow", "int8") == "slow/int8"
    assert machine.open_network(precision="int8") == "slow/int8"
    assert slow.opened == ["int8", "int8"]


def test_the_error_names_what_is_possible(machine: Machine) -> None:
    machine.install(
        FakeRuntime("torch", {"float32": slow_by(0)}),
        FakeRuntime("tvm", {"float32": slow_by(0)}, REQUIRED_PACKAGES=("a_package_of_nobody",)),
    )
    with pytest.raises(
        ValueError,
        match=r"UNET_RUNTIME=tvm with PRECISION=auto is not possible on cpu; "
        r"here are torch \(float32\); tvm \(not installed: a_package_of_nobody\)",
    ):
        machine.open_network("tvm")
    with pytest.raises(ValueError, match="PRECISION=float16"):
        machine.open_network(precision="float16")
