"""Every setting of the stages, of the bridges to them and of what starts both.

`docs/settings.md` is made from these classes: `python -m scripts.settings_table`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from env_settings import EnvSettings
from ray_stages.cores import cores

ROOT = Path(__file__).resolve().parent.parent


def _absolute(path: Path | str) -> Path:
    """Ray's workers and Triton's stubs run in other folders than the launcher."""
    return Path(path).expanduser().resolve()


def _checkpoint(model: str) -> str:
    """A folder's absolute path, or a Hugging Face id. A folder of that name comes first."""
    folder = _absolute(model)
    if (folder / "model_index.json").is_file():
        return str(folder)
    if folder.is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise ValueError("not a checkpoint's folder or a Hugging Face id")
    return model


Port = Annotated[int, Field(ge=0, le=65535)]
Folder = Annotated[Path, AfterValidator(_absolute)]
File = Annotated[FilePath, BeforeValidator(_absolute)]
Precision = Literal["auto", "float32", "float16", "bfloat16", "int8"]
Runtime = Literal["auto", "torch", "torch-compile", "onnxruntime", "openvino"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)


class StageSettings(BaseModel):
    """Every stage has these, with its own name in front."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    replicas: PositiveInt = 1
    """Replicas, at least."""
    max_replicas: NonNegativeInt = 0
    """Replicas, at most: their number follows the load. 0: as many as `…_REPLICAS`."""
    target_requests: PositiveFloat = 8.0
    """Requests in each replica, on average, above which another replica starts."""
    cpus: NonNegativeFloat = 0.5
    """CPUs that Ray reserves for a replica."""
    gpus: float = -1.0
    """GPUs that Ray reserves for a replica. -1: a share of one, if there is one."""
    threads: NonNegativeInt = 0
    """CPU threads of a replica. 0: the cores, divided by the replicas at most."""
    runtime: Runtime = "auto"
    """What computes the network (docs/runtimes.md). auto: the fastest that is right."""


class TextEncoderSettings(StageSettings):
    target_requests: PositiveFloat = 16.0
    cache_mb: NonNegativeInt = 64
    """Memory for embeddings of the latest prompts, in MiB."""


class UNetSettings(StageSettings):
    cpus: NonNegativeFloat = 1.0
    max_rows: NonNegativeInt = 0
    """Rows of one UNet call; a guided picture has two. 0: measured at the start."""
    max_queue: PositiveInt = 256
    """Pictures at once in a replica; a request for more gets UNAVAILABLE."""
    deep_every: PositiveInt = 1
    """One of so many steps computes the whole UNet, the others only its outermost level:
    faster, with other pictures (docs/deep-cache.md)."""


class LauncherSettings(EnvSettings):
    """Read by the launcher: one machine's processes, or a container's part of a cluster."""

    bind: str = "127.0.0.1"
    """Address that Triton listens on."""
    http_port: Port = 8000
    """Triton's HTTP. 0: any free port."""
    grpc_port: Port = 8001
    """Triton's gRPC. 0: any free port."""
    metrics_port: Port = 8002
    """Triton's metrics. 0: any free port."""
    gateway_port: Port = 8080
    """Where `check gateway` finds the gateway, which reads it too."""
    grpc_tls_certificate: File | None = None
    """PEM file for Triton's gRPC, which then refuses plain text. HTTP stays plain."""
    grpc_tls_key: File | None = None
    """PEM file of that certificate's key."""
    grpc_connection_seconds: PositiveInt = 300
    """Age at which Triton has a gRPC client connect anew, so that clients find Tritons that
    came later. Requests under way are not harmed."""
    run_dir: Folder = ROOT / ".run"
    """Folder of logs and state."""
    log_to: Literal["files", "stdout"] = "files"
    """`files`: `triton.log` and `ray.log` in `RUN_DIR/<process>`."""
    drain_file: Folder | None = None
    """While it exists, bridges refuse new requests; the launcher sets it."""
    start_seconds: NonNegativeInt = 600
    """Time for the stages to become ready."""

    @field_validator("grpc_tls_key")
    @classmethod
    def _beside_its_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "grpc_tls_certificate" in info.data:
            certificate = info.data["grpc_tls_certificate"]
            if bool(certificate) != bool(key):
                raise ValueError("GRPC_TLS_CERTIFICATE and GRPC_TLS_KEY need each other")
        return key


class BridgeSettings(EnvSettings):
    """Read by the bridges inside Triton; `MAX_IN_FLIGHT` by the stages' deployments too."""

    max_in_flight: PositiveInt = 256
    """Pictures at once; a request for more gets UNAVAILABLE."""
    max_seconds: PositiveInt = 3600
    """Longest deadline of a request, and that of one that sets none."""
    attempts: PositiveInt = 4
    """Calls of a stage whose replicas die."""


class CommonSettings(EnvSettings):
    """Read by the launcher, the bridges and the stages."""

    ray_address: str = ""
    """Ray to join. Empty: a private one is started."""
    cache_dir: Folder = Path("~/.cache/latent-relay")
    """Folder of Triton's server, exported and compiled networks."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that the stages log."""
    drain_seconds: NonNegativeInt = 30
    """Time of a stopping stack to answer what it accepted."""


class ModelSettings(EnvSettings):
    """Read by the stages: what they load, and how they compute."""

    model: str = str(ROOT / "models" / "miniature-sd")
    """A checkpoint's folder in diffusers' format, or a Hugging Face id."""
    model_variant: str = ""
    """Variant of the weights, as in diffusers."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where there is a GPU."""
    precision: Precision = "auto"
    """`auto` is half precision where the device has it."""
    default_steps: int = 0
    """Steps of a request that names none. 0: the model's."""
    default_guidance_scale: float = -1.0
    """Guidance of a request that names none. Negative: the model's."""

    @field_validator("model")
    @classmethod
    def _is_a_checkpoint(cls, model: str) -> str:
        return _checkpoint(model)

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError("not auto, cpu, cuda or cuda:N")
        return device


class RequestLimits(EnvSettings):
    """Read by the stages: what a request may ask for."""

    max_prompts: PositiveInt = 16
    """Prompts of one request."""
    max_prompt_chars: int = 2000
    """Characters of one prompt."""
    max_steps: PositiveInt = 150
    """Steps."""
    max_guidance_scale: float = 30.0
    """Guidance scale."""
    max_size: int = 0
    """Height and width, in pixels. 0: twice the model's own size."""
    max_image_bytes: PositiveInt = 16_000_000
    """Bytes of one picture to start from."""
    max_image_pixels: PositiveInt = 32_000_000
    """Pixels of one picture to start from."""


class DenoisingSettings(EnvSettings):
    """Read by the replicas of the UNet."""

    aging_seconds: float = 10.0
    """Time of waiting that counts as one `priority`."""
    latents_dir: Folder | None = None
    """Folder for latents that requests ask for (docs/latents.md). Empty: none."""
    latents_max_mb: int = 1024
    """Size of that folder in MiB, above which the oldest requests go."""


class ScalingSettings(EnvSettings):
    """Read by the deployment of the stages on Ray Serve."""

    scale_up_seconds: NonNegativeFloat = 5.0
    """Time of too much load before a replica starts."""
    scale_down_seconds: NonNegativeFloat = 120.0
    """Time of too little load before a replica stops."""
    replicas_per_node: NonNegativeInt = 0
    """Replicas of a stage on one node, at most. 0: any number."""


class Settings(
    ScalingSettings,
    DenoisingSettings,
    RequestLimits,
    BridgeSettings,
    LauncherSettings,
    CommonSettings,
    ModelSettings,
):
    """All of them, and one line for each stage."""

    text_encoder: TextEncoderSettings = TextEncoderSettings()
    unet: UNetSettings = UNetSettings()
    vae_decoder: StageSettings = StageSettings()
    vae_encoder: StageSettings = StageSettings()

    @property
    def host(self) -> str:
        """The address by which clients on this machine reach what listens on `bind`."""
        return "127.0.0.1" if self.bind == "0.0.0.0" else self.bind

    def replace(self, **changes: Any) -> Settings:
        """A checked copy with other values of some fields."""
        return Settings(**{**dict(self), **changes})

    def with_free_ports(self) -> Settings:
        return self.replace(http_port=0, grpc_port=0, metrics_port=0)

    def of_stages(self) -> Settings:
        """A copy without what only the launcher and Triton's side read."""
        return self.replace(
            **{name: field.default for name, field in LauncherSettings.model_fields.items()}
        )

    def resources(self, stage: str) -> StageSettings:
        """Settings of one stage, with `max_replicas` and `threads` as they come out here."""
        own: StageSettings = getattr(self, stage)
        most = max(own.replicas, own.max_replicas)
        threads = own.threads or max(1, cores() // most)
        return own.model_copy(update={"max_replicas": most, "threads": threads})


STAGES = tuple(
    name
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, StageSettings)
)
