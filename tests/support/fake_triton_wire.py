"""Triton's gRPC and HTTP messages on the server's side: requests parsed, responses formatted."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

DATATYPES = {"prompt": "BYTES", "negative_prompt": "BYTES", "encoding": "BYTES", "seed": "INT64"}

Arrays = dict[str, np.ndarray[Any, Any]]


class Tensor(NamedTuple):
    datatype: str
    shape: list[int]
    values: list[Any]


class Request(NamedTuple):
    model: str
    id: str
    timeout: int
    inputs: dict[str, Tensor]
    outputs: list[str]

    def value(self, name: str, default: int) -> int:
        return int(self.inputs[name].values[0]) if name in self.inputs else default


def from_wire(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        return list(deserialize_bytes_tensor(raw).tolist())
    return list(np.frombuffer(raw, triton_to_np_dtype(datatype)).tolist())


def to_wire(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype == np.object_:
        return b"".join(serialize_byte_tensor(array).ravel())
    return array.tobytes()


def grpc_request(message: Any) -> Request:
    inputs = {
        tensor.name: Tensor(tensor.datatype, list(tensor.shape), from_wire(tensor.datatype, raw))
        for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True)
    }
    timeout = message.parameters["timeout"].int64_param
    outputs = [output.name for output in message.outputs]
    return Request(message.model_name, message.id, timeout, inputs, outputs)


def grpc_answer(message: Any, outputs: Arrays) -> Any:
    answer = service_pb2.ModelInferResponse(model_name=message.model_name)
    for name, array in outputs.items():
        answer.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        answer.raw_output_contents.append(to_wire(array))
    return answer


def http_request(model: str, head: bytes, raw: bytes) -> Request:
    document = json.loads(head)
    inputs = {}
    for tensor in document["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        values = from_wire(tensor["datatype"], raw[:size])
        inputs[tensor["name"]] = Tensor(tensor["datatype"], tensor["shape"], values)
        raw = raw[size:]
    assert all(output["parameters"]["binary_data"] for output in document["outputs"])
    outputs = [output["name"] for output in document["outputs"]]
    return Request(
        model, document.get("id", ""), document["parameters"]["timeout"], inputs, outputs
    )


def http_answer(outputs: Arrays) -> tuple[bytes, bytes]:
    raws = {name: to_wire(array) for name, array in outputs.items()}
    described = [
        {
            "name": name,
            "datatype": np_to_triton_dtype(array.dtype),
            "shape": list(array.shape),
            "parameters": {"binary_data_size": len(raws[name])},
        }
        for name, array in outputs.items()
    ]
    return json.dumps({"outputs": described}).encode(), b"".join(raws.values())


def generate_request(model: str, body: bytes) -> Request:
    """A request of `generate_stream`: the model's inputs by name, and no time limit."""
    document = json.loads(body)
    request_id = document.pop("id")
    assert document.pop("encoding") == "base64"
    assert document.pop("error_codes") is True  # a parameter, not an input
    inputs = {}
    for name, values in document.items():
        items = [v.encode("utf-8", "replace") if isinstance(v, str) else v for v in values]
        datatype = DATATYPES.get(name, "FP32" if isinstance(items[0], float) else "INT32")
        inputs[name] = Tensor(datatype, [len(items)], items)
    outputs = ["image", "seed_used", "text_encoder_ms", "unet_ms", "vae_decoder_ms"]
    return Request(model, request_id, 0, inputs, outputs)


def sse_event(outputs: Arrays) -> bytes:
    """An event as Triton writes it: a tensor of one element is a plain value."""
    files = [base64.b64encode(png).decode() for png in outputs["image"]]
    lists = {name: array.tolist() for name, array in outputs.items()}
    lists.update(image=[], image_base64=files)
    document = {name: items[0] if len(items) == 1 else items for name, items in lists.items()}
    return f"data: {json.dumps(document)}\n\n".encode()
