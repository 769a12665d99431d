"""Every setting of the service: one frozen dataclass, read from the environment once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from ray_stages.cores import cores

STAGES = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
RUNTIMES = ("auto", "torch", "torch-compile", "onnxruntime", "openvino")
CHOICES = {
    "precision": ("auto", "float32", "float16", "bfloat16", "int8"),
    **{f"{stage}_runtime": RUNTIMES for stage in STAGES},
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_to": ("files", "stdout"),
}
AT_LEAST_1 = (
    *("max_in_flight", "max_prompts", "max_steps", "max_seconds", "attempts"),
    *("max_image_bytes", "max_image_pixels", "unet_deep_every", "grpc_connection_seconds"),
)
NOT_OF_STAGES = (
    *("bind", "http_port", "grpc_port", "metrics_port", "gateway_port"),
    *("run_dir", "log_to", "drain_file", "start_seconds"),
    *("grpc_tls_certificate", "grpc_tls_key", "grpc_connection_seconds"),
)
FILES = ("grpc_tls_certificate", "grpc_tls_key")
ROOT = Path(__file__).resolve().parent.parent


def _absolute(path: str) -> str:
    """Ray's workers and Triton's stubs need not stand where we do."""
    return str(Path(path).expanduser().resolve())


def _refusal(name: str, value: object, limit: str) -> ValueError:
    return ValueError(f"{name.upper()}={value} is not {limit}")


@dataclass(frozen=True)
class StageResources:
    """What one stage may use: replicas, and for each its CPU and GPU share, threads and runtime.

    target_requests: in work in each replica, on average, where their number follows the load.
    """

    replicas: int
    max_replicas: int
    target_requests: float
    cpus: float
    gpus: float
    threads: int
    runtime: str


@dataclass(frozen=True)
class Settings:
    """Each field is set by the environment variable of its name in capitals.

    A port 0 means any free one; threads 0 means an even share of the cores for
    each replica of a stage; a number of steps, a guidance or a size of 0 or less
    means the model's own; replicas per node 0 are any number of a stage's; most
    replicas 0 are as many as there are at least; rows 0 are what a measurement at
    warm-up finds best.
    """

    model: str = str(ROOT / "models" / "miniature-sd")
    model_variant: str = ""
    device: str = "auto"
    precision: str = "auto"
    default_steps: int = 0
    default_guidance_scale: float = -1.0

    bind: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    gateway_port: int = 8080
    grpc_tls_certificate: str = ""
    grpc_tls_key: str = ""
    grpc_connection_seconds: int = 300
    ray_address: str = ""
    cache_dir: str = str(Path("~/.cache/latent-relay").expanduser())
    run_dir: str = str(ROOT / ".run")
    log_level: str = "INFO"
    log_to: str = "files"

    max_in_flight: int = 256
    max_prompts: int = 16
    max_prompt_chars: int = 2000
    max_steps: int = 150
    max_guidance_scale: float = 30.0
    max_size: int = 0
    max_image_bytes: int = 16_000_000
    max_image_pixels: int = 32_000_000
    max_seconds: int = 3600
    attempts: int = 4
    drain_seconds: int = 30
    drain_file: str = ""
    latents_dir: str = ""
    latents_max_mb: int = 1024
    start_seconds: int = 600

    scale_up_seconds: float = 5.0
    scale_down_seconds: float = 120.0
    replicas_per_node: int = 0
    text_encoder_replicas: int = 1
    text_encoder_max_replicas: int = 0
    text_encoder_target_requests: float = 16.0
    text_encoder_cpus: float = 0.5
    text_encoder_gpus: float = -1.0
    text_encoder_threads: int = 0
    text_encoder_runtime: str = "auto"
    text_encoder_cache_mb: int = 64
    unet_replicas: int = 1
    unet_max_replicas: int = 0
    unet_target_requests: float = 8.0
    unet_cpus: float = 1.0
    unet_gpus: float = -1.0
    unet_threads: int = 0
    unet_runtime: str = "auto"
    unet_max_rows: int = 0
    unet_max_queue: int = 256
    unet_deep_every: int = 1
    aging_seconds: float = 10.0
    vae_decoder_replicas: int = 1
    vae_decoder_max_replicas: int = 0
    vae_decoder_target_requests: float = 8.0
    vae_decoder_cpus: float = 0.5
    vae_decoder_gpus: float = -1.0
    vae_decoder_threads: int = 0
    vae_decoder_runtime: str = "auto"
    vae_encoder_replicas: int = 1
    vae_encoder_max_replicas: int = 0
    vae_encoder_target_requests: float = 8.0
    vae_encoder_cpus: float = 0.5
    vae_encoder_gpus: float = -1.0
    vae_encoder_threads: int = 0
    vae_encoder_runtime: str = "auto"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """A value that is no good is a ValueError that names variable, value and limit."""
        hints = get_type_hints(cls)
        given: dict[str, Any] = {}
        for field in fields(cls):
            text = environ.get(field.name.upper(), "").strip()
            if not text:
                continue
            try:
                given[field.name] = hints[field.name](text)
            except ValueError:
                kind = hints[field.name].__name__
                raise ValueError(f"{field.name.upper()}={text!r} is not of type {kind}") from None
        for path in (*FILES, "cache_dir", "run_dir", "latents_dir"):
            if path in given:
                given[path] = _absolute(given[path])
        # A folder of that name comes before a Hugging Face id.
        if "model" in given and Path(given["model"]).expanduser().is_dir():
            given["model"] = _absolute(given["model"])
        settings = cls(**given)
        settings._check()
        return settings

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise _refusal(name, getattr(self, name), f"one of {', '.join(choices)}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise _refusal("device", self.device, "auto, cpu, cuda or cuda:N")
        for name in ("http_port", "grpc_port", "metrics_port", "gateway_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise _refusal(name, getattr(self, name), "0 to 65535")
        for name in (*AT_LEAST_1, *(f"{stage}_replicas" for stage in STAGES)):
            if getattr(self, name) < 1:
                raise _refusal(name, getattr(self, name), "at least 1")
        for name, other in (FILES, FILES[::-1]):
            if getattr(self, name) and not getattr(self, other):
                raise _refusal(other, "", f"given beside {name.upper()}")
            if getattr(self, name) and not Path(getattr(self, name)).is_file():
                raise _refusal(name, getattr(self, name), "a file")
        is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", self.model)
        if not is_hub_id and not (Path(self.model) / "model_index.json").is_file():
            raise _refusal("model", self.model, "a checkpoint's directory or a Hugging Face id")

    @property
    def host(self) -> str:
        """Where clients on this machine reach what listens on `bind`."""
        return "127.0.0.1" if self.bind == "0.0.0.0" else self.bind

    def with_free_ports(self) -> Settings:
        return replace(self, http_port=0, grpc_port=0, metrics_port=0)

    def of_stages(self) -> Settings:
        """Without what only the launcher and Triton's side need to know."""
        usual: dict[str, Any] = {field.name: field.default for field in fields(self)}
        return replace(self, **{name: usual[name] for name in NOT_OF_STAGES})

    def resources(self, stage: str) -> StageResources:
        replicas: int = getattr(self, f"{stage}_replicas")
        most = max(replicas, getattr(self, f"{stage}_max_replicas"))
        threads: int = getattr(self, f"{stage}_threads")
        return StageResources(
            replicas=replicas,
            max_replicas=most,
            target_requests=getattr(self, f"{stage}_target_requests"),
            cpus=getattr(self, f"{stage}_cpus"),
            gpus=getattr(self, f"{stage}_gpus"),
            threads=threads or max(1, cores() // most),
            runtime=getattr(self, f"{stage}_runtime"),
        )
