"""Every setting of the gateway.

`docs/settings.md` is made from this class: `python -m scripts.settings_table`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from limits import parse
from pydantic import (
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode

from env_settings import EnvSettings
from gateway.keys import ApiKeys

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
Port = Annotated[int, Field(ge=0, le=65535)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class GatewaySettings(EnvSettings):
    """Read by the gateway. Lists are separated by commas."""

    model: str = "stable_diffusion"
    """The model's name in answers: the last part of a path, or a Hugging Face id."""
    triton_grpc: CommaSeparated = ("127.0.0.1:8001",)
    """Addresses of Triton's gRPC, or one name, such as `dns:///triton:8001`."""
    triton_tls_ca: FilePath | None = None
    """PEM file of the authority of Triton's certificate, which must name the first of several
    Tritons. Empty: plain text. The launcher sets Triton's own certificate, for `BIND`."""
    tls_certificate: Path | None = None
    """PEM file for HTTPS."""
    tls_key: Path | None = None
    """PEM file of that certificate's key."""

    api_keys_file: Path | None = None
    """File with lines of `python -m gateway new-key`."""
    api_keys: CommaSeparated = ()
    """The same lines."""
    no_keys_needed: bool = False
    """True where something in front of the gateway checks who comes in."""
    gateway_bind: str = "127.0.0.1"
    """Address to listen on; one that is not loopback needs keys."""
    gateway_port: Port = 8080
    """Port of HTTP. 0: any free port."""
    allowed_hosts: CommaSeparated = ()
    """Names that requests may call it. Empty: any; without keys, loopback's."""
    cors_origins: CommaSeparated = ()
    """Sites whose pages may use it."""
    rate_limit: str = "600/minute"
    """Requests of one key, or of one address."""
    concurrent_requests: PositiveInt = 16
    """Requests in work of one key, or of one address."""
    connections_per_address: PositiveInt = 256
    """Open connections of one IPv4 address or IPv6 /64, but for `FORWARDED_ALLOW_IPS`."""
    max_body_bytes: PositiveInt = 24_000_000
    """Bytes of one request's body."""
    body_seconds: PositiveFloat = 30
    """Time for a request's body to arrive."""
    write_seconds: PositiveFloat = 30
    """Time that a client may leave what it was sent unread, without any progress."""
    request_seconds: PositiveFloat = 300
    """Time for a request to be answered."""
    drain_seconds: NonNegativeFloat = 30
    """Time of a stopping gateway to answer what it accepted."""

    cache_bytes: NonNegativeInt = 64_000_000
    """Memory for pictures that have a seed."""
    store: Annotated[str, Field(pattern="^(sqlite:///|rediss?://).")] = (
        "sqlite:///~/.cache/latent-relay/gateway.sqlite"
    )
    """Jobs, results and answers: SQLite's file, or `redis://host:6379/0`."""
    store_bytes: PositiveInt = 4_000_000_000
    """Size of SQLite's file; Redis has its own `maxmemory`."""
    results_seconds: PositiveInt = 3600
    """Time that results are kept."""
    max_jobs: PositiveInt = 1000
    """Jobs that wait."""
    jobs_at_once: NonNegativeInt = 4
    """Jobs in work in one gateway."""
    lease_seconds: PositiveFloat = 10
    """Time after which another gateway takes the job of one that died."""
    ready_seconds: NonNegativeFloat = 10
    """Time that the answer of `/readyz` holds, before another picture is drawn."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""

    @field_validator("rate_limit")
    @classmethod
    def _check_rate(cls, rate: str) -> str:
        parse(rate)
        return rate

    @field_validator("triton_grpc", "api_keys", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("gateway_bind")
    @classmethod
    def _require_keys_off_loopback(cls, bind: str, info: ValidationInfo) -> str:
        keys = {"api_keys_file", "api_keys", "no_keys_needed"}
        if not (_is_loopback(bind) or any(info.data.get(name) for name in keys)):
            raise ValueError(
                "not loopback: set API_KEYS_FILE or API_KEYS (`python -m gateway new-key` makes "
                "one), or NO_KEYS_NEEDED=true where something in front checks who comes in"
            )
        return bind

    @property
    def on_loopback(self) -> bool:
        return _is_loopback(self.gateway_bind)

    @property
    def needs_keys(self) -> bool:
        return bool(self.api_keys_file or self.api_keys)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The accepted `Host` headers; empty for any. Without keys only local names are accepted:
        else a foreign site could read answers by DNS rebinding."""
        if self.allowed_hosts or self.needs_keys or not self.on_loopback:
            return self.allowed_hosts
        return (*LOCAL_NAMES, self.gateway_bind)

    @property
    def checkpoint(self) -> str:
        """The served model's name, as `make serve` prints it: the last part of a path, or an id."""
        path = Path(self.model).expanduser()
        return path.resolve().name if path.is_dir() or path.is_absolute() else self.model

    def keys(self) -> ApiKeys:
        return ApiKeys(self.api_keys, self.api_keys_file)


def _is_loopback(bind: str) -> bool:
    if bind == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:  # a host name, which may be any machine's
        return False
