"""Strategies for whole requests to Triton, over gRPC and over HTTP in its three forms.

Some requests end tritonserver 2.51 before they reach any code of this project, and the gateway
never sends them (SECURITY.md). They are left out: the parameter `classification`, a shape whose
product overflows, JSON nested by the thousand, a body in many tiny chunks. A large shape in JSON is
left out too: the server allocates it before it reads the data, and it could fill the machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tritonclient.grpc import service_pb2

from tests.fuzz import tensors
from tests.fuzz.model_configs import Model, models
from tests.fuzz.tensors import Tensor

VERSIONS = ("", "0", "2", "-1", "x", "9" * 30)
MAX_REQUEST_BYTES = 300_000
MAX_JSON_ELEMENTS = 2**16
# Always set to small values, so that each picture is drawn quickly.
ALWAYS_GIVEN = ("prompt", "height", "width", "steps", "init_image")
MODELS = st.sampled_from(models())
WRONG_INPUTS = st.sampled_from(["none", *["one"] * 5, "some", "all"])
PLACES = st.integers(0, 1000)
CHOSEN = st.integers(0, 2**40)
# Model and version; mostly None, which means those of a real model.
UNUSUAL_MODELS = st.sampled_from(
    [*[None] * 60, ("", ""), ("unknown", ""), ("../cancel", "1"), *[(None, v) for v in VERSIONS]]
)
IDS = st.sampled_from(["", "", "theirs", "mine", "a b\nc", "x" * 5000, "\u2028", "../..", "%s"])
NUMBERS = st.sampled_from([0, 1, -1, 10**6, 2**31, 2**63 - 1, -(2**63)])
VALUES = st.one_of(NUMBERS, st.booleans(), st.sampled_from(["", "x", "1"]), st.floats())
PARAMETERS = (
    *("timeout", "priority", "sequence_id", "sequence_start", "sequence_end", "binary_data"),
    *(
        "shared_memory_region",
        "shared_memory_byte_size",
        "triton_unknown",
        "unknown",
        "headers",
        "",
    ),
)
SOME_PARAMETERS: SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.dictionaries(st.sampled_from(PARAMETERS), VALUES, max_size=2)
)


@dataclass(frozen=True)
class GrpcRequest:
    model: str
    version: str
    id: str
    given: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    parameters: dict[str, Any]
    streams: bool

    def message(self) -> Any:
        request = service_pb2.ModelInferRequest(
            model_name=self.model, model_version=self.version, id=self.id
        )
        for tensor in self.given:
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            request.raw_input_contents.append(tensor.raw)
        for name in self.outputs:
            request.outputs.add(name=name)
        for name, value in self.parameters.items():
            _set(request.parameters[name], value)
        return request

    def head(self) -> dict[str, Any]:
        """Returns the JSON part of an HTTP body; the tensors' bytes follow it."""
        inputs = [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape,
                "parameters": {"binary_data_size": len(tensor.raw)},
            }
            for tensor in self.given
        ]
        outputs = [{"name": name, "parameters": {"binary_data": True}} for name in self.outputs]
        return {"id": self.id, "inputs": inputs, "outputs": outputs, "parameters": self.parameters}


@dataclass(frozen=True)
class HttpRequest:
    """length: the value of the header that gives the length of the JSON part."""

    path: str
    body: bytes
    length: int | None = None


def _set(parameter: Any, value: object) -> None:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    setattr(parameter, kinds[type(value)], value)


@st.composite
def grpc_requests(draw: DrawFn) -> GrpcRequest:
    model = draw(MODELS)
    unusual = draw(UNUSUAL_MODELS)
    return GrpcRequest(
        model=unusual[0] if unusual and unusual[0] is not None else model.name,
        version=unusual[1] if unusual else "",
        id=draw(IDS),
        given=draw(_given(model)),
        outputs=draw(_outputs(model)),
        parameters=draw(SOME_PARAMETERS),
        streams=model.streams and not unusual,
    )


@st.composite
def _given(draw: DrawFn, model: Model) -> tuple[Tensor, ...]:
    """Of eight requests one is valid, and in five a single input is wrong."""
    wrong_inputs = draw(WRONG_INPUTS)
    victim, chosen = draw(PLACES) % len(model.inputs), draw(CHOSEN)
    found = []
    for place, given in enumerate(model.inputs):
        wrong = wrong_inputs == "all" or (wrong_inputs == "one" and place == victim)
        if wrong or (wrong_inputs == "some" and chosen >> place & 3 == 3):
            found.append(draw(tensors.wrong(given)))
        elif not given.optional or given.name in ALWAYS_GIVEN or chosen >> place & 3 == 0:
            found.append(draw(tensors.good(given)))
    if wrong_inputs == "some" and found:
        found.append(found[victim % len(found)])  # the same input twice
    while sum(len(tensor.raw) for tensor in found) > MAX_REQUEST_BYTES:
        found.pop()
    return tuple(found)


@cache
def _outputs(model: Model) -> SearchStrategy[tuple[str, ...]]:
    names = st.sampled_from([*model.outputs * 3, "unknown", ""])
    return st.one_of(st.just(()), st.lists(names, max_size=4).map(tuple))


@st.composite
def http_requests(draw: DrawFn) -> HttpRequest:
    return draw(st.one_of(_binary(), _json(), _generate()))


@st.composite
def _binary(draw: DrawFn) -> HttpRequest:
    request = draw(grpc_requests())
    head = json.dumps(request.head()).encode()
    raw = b"".join(tensor.raw for tensor in request.given)
    lie, end = draw(st.sampled_from([*[(0, 1)] * 6, (-1, 1), (1, 1), (2**31, 1), (0, 2), (0, 9)]))
    return HttpRequest(
        f"{request.model or 'x'}/infer", head + raw[: len(raw) // end], len(head) + lie
    )


@st.composite
def _json(draw: DrawFn) -> HttpRequest:
    """A request with all data in JSON, where any value may be of any type."""
    model, chosen = draw(MODELS), draw(CHOSEN)
    inputs = []
    for place, given in enumerate(model.inputs):
        if given.optional and chosen >> place & 3:
            continue
        tensor = draw(tensors.inconsistent(given))
        shape = tensor.shape if tensor.element_count <= MAX_JSON_ELEMENTS else (1,)
        claims = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
        inputs.append({**claims, "data": draw(DATA)})
    document = {"inputs": inputs, **draw(FIELDS)}
    return HttpRequest(f"{model.name}/infer", _cut(json.dumps(document).encode(), draw(CUTS)))


@st.composite
def _generate(draw: DrawFn) -> HttpRequest:
    model = draw(MODELS)
    document: Any = {**draw(USUAL), **draw(_fields(model))}
    if draw(PLACES) == 0:
        document = draw(ANYTHING)
    verb = "generate_stream" if model.streams else "generate"
    return HttpRequest(f"{model.name}/{verb}", _cut(json.dumps(document).encode(), draw(CUTS)))


@cache
def _fields(model: Model) -> SearchStrategy[dict[str, Any]]:
    names = [*(given.name for given in model.inputs), "id", "parameters", "x"]
    return st.dictionaries(st.sampled_from(names), ANYTHING, max_size=3)


def _cut(body: bytes, at: int) -> bytes:
    return body[: at % (len(body) + 1)] if at else body


# JSON as Python writes it, with NaN and Infinity, without deep nesting.
SINGLE = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=20))
LISTS = st.lists(SINGLE, max_size=3)
ANYTHING = st.one_of(SINGLE, LISTS, st.dictionaries(st.text(max_size=3), LISTS, max_size=2))
DATA = st.one_of(LISTS, st.integers(0, 20).map(lambda count: [1] * count), ANYTHING)
FIELDS = st.one_of(
    *[st.just({})] * 3,
    st.dictionaries(st.sampled_from(["inputs", "outputs", "id", "parameters"]), ANYTHING),
)
USUAL = st.sampled_from([{}, {"prompt": "a", "steps": 1, "height": 64, "width": 64}])
CUTS = st.one_of(*[st.just(0)] * 9, st.integers(1, 10_000))
