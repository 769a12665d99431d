"""A fake of `triton_python_backend_utils`, which exists only inside a Triton stub."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass
class Tensor:
    _name: str
    _values: Any

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Any:
        return self._values


class TritonError(Exception):
    INTERNAL = "INTERNAL"
    INVALID_ARG = "INVALID_ARG"
    UNAVAILABLE = "UNAVAILABLE"
    CANCELLED = "CANCELLED"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None

    def values(self) -> dict[str, Any]:
        return {tensor.name(): tensor.as_numpy() for tensor in self.output_tensors}


@dataclass
class Sender:
    """Keeps the responses; Triton allows one final response per request."""

    sent: list[InferenceResponse] = field(default_factory=list)
    cancelled: bool = False
    finished: bool = False

    def send(self, response: InferenceResponse, flags: int) -> None:
        assert not self.finished
        self.finished = flags == 1
        self.sent.append(response)

    def is_cancelled(self) -> bool:
        assert not self.finished, "tritonserver would end here"
        return self.cancelled


@dataclass
class Request:
    tensors: dict[str, Any]
    id: str = ""
    parameters_json: str = "{}"
    timeout_us: int = 0
    outputs: tuple[str, ...] = ("prompt_embeds", "request_id", "deadline", "elapsed_ms")
    sender: Sender = field(default_factory=Sender)

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, values) for name, values in self.tensors.items()]

    def request_id(self) -> str:
        return self.id

    def parameters(self) -> str:
        return self.parameters_json

    def timeout(self) -> int:
        return self.timeout_us

    def requested_output_names(self) -> list[str]:
        return list(self.outputs)

    def get_response_sender(self) -> Sender:
        return self.sender


@dataclass
class Metric:
    labels: dict[str, str]
    buckets: list[float] = field(default_factory=list)
    value: float = 0

    def increment(self, by: float) -> None:
        self.value += by

    def set(self, value: float) -> None:
        self.value = value

    def observe(self, value: float) -> None:
        self.value += value


class MetricFamily:
    COUNTER, GAUGE, HISTOGRAM = range(3)

    def __init__(self, name: str, description: str, kind: int) -> None: ...

    def Metric(self, **options: Any) -> Metric:  # noqa: N802
        return Metric(**options)


class Logger:
    lines: ClassVar[list[str]] = []

    @classmethod
    def log_info(cls, line: str) -> None:
        cls.lines.append(line)

    log_error = log_info


def install() -> None:
    """Makes `import triton_python_backend_utils` return a module with these classes."""
    module: Any = types.ModuleType("triton_python_backend_utils")
    for offered in (Tensor, TritonError, InferenceResponse, MetricFamily, Logger):
        setattr(module, offered.__name__, offered)
    module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    sys.modules.setdefault("triton_python_backend_utils", module)
