"""Inputs and outputs of each Triton model, read from its `config.pbtxt`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from ray_stages.settings import ROOT

REPOSITORY = ROOT / "model_repository"
CHECKPOINT = ROOT / "models" / "miniature-sd"


@dataclass(frozen=True)
class Input:
    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool


@dataclass(frozen=True)
class Model:
    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    streams: bool


@cache
def models() -> tuple[Model, ...]:
    """Returns all models, inner ones too: any client of Triton can call them."""
    return tuple(_model(path.parent.name) for path in sorted(REPOSITORY.glob("*/config.pbtxt")))


@cache
def embed_dim() -> int:
    config = json.loads((CHECKPOINT / "text_encoder" / "config.json").read_text())
    return int(config["hidden_size"])


def _model(name: str) -> Model:
    config: Any = model_config_pb2.ModelConfig()
    text_format.Parse((REPOSITORY / name / "config.pbtxt").read_text(), config)
    kinds = model_config_pb2.DataType
    inputs = tuple(
        Input(i.name, _datatype(kinds.Name(i.data_type)), tuple(i.dims), i.optional)
        for i in config.input
    )
    return Model(name, inputs, tuple(o.name for o in config.output), "stream" in name)


def _datatype(kind: str) -> str:
    return kind.removeprefix("TYPE_").replace("STRING", "BYTES")
