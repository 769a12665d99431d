"""The settings of the gateway, read from the environment once."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from limits import parse
from pydantic import (
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.keys import ApiKeys

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class GatewaySettings(BaseSettings):
    """Each field is set by the environment variable of its name in capitals.

    Lists are separated by commas; an empty list, path or address means none.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    gateway_bind: str = "127.0.0.1"
    gateway_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    triton_grpc: CommaSeparated = ("127.0.0.1:8001",)
    triton_tls_ca: FilePath | None = None
    model: str = "stable_diffusion"
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    api_keys_file: Path | None = None
    api_keys: CommaSeparated = ()
    no_keys_needed: bool = False
    allowed_hosts: CommaSeparated = ()
    cors_origins: CommaSeparated = ()
    rate_limit: str = "600/minute"
    concurrent_requests: PositiveInt = 16
    max_body_bytes: PositiveInt = 24_000_000
    body_seconds: PositiveFloat = 30
    request_seconds: PositiveFloat = 300
    drain_seconds: NonNegativeFloat = 30

    cache_bytes: NonNegativeInt = 64_000_000
    store: Annotated[str, Field(pattern="^(sqlite:///|rediss?://).")] = (
        "sqlite:///~/.cache/latent-relay/gateway.sqlite"
    )
    store_bytes: PositiveInt = 4_000_000_000
    results_seconds: PositiveInt = 3600
    max_jobs: PositiveInt = 1000
    jobs_at_once: NonNegativeInt = 4
    lease_seconds: PositiveFloat = 10
    ready_seconds: NonNegativeFloat = 10
    log_level: str = "INFO"

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

    @model_validator(mode="after")
    def _require_keys_off_loopback(self) -> GatewaySettings:
        if not (self.on_loopback or self.needs_keys or self.no_keys_needed):
            raise ValueError(
                f"GATEWAY_BIND={self.gateway_bind} is not loopback: set API_KEYS_FILE or API_KEYS "
                "(`python -m gateway new-key` makes one), or NO_KEYS_NEEDED=true where something "
                "in front looks who comes in"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        if self.gateway_bind == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.gateway_bind).is_loopback
        except ValueError:  # a host name, which may be any machine's
            return False

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
