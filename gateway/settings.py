"""Every setting of the gateway, read from the environment once."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Each field is set by the environment variable of its name in capitals.

    Lists are separated by commas; an empty list, path or address means none.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    gateway_bind: str = "127.0.0.1"
    gateway_port: int = Field(8080, ge=0, le=65535)
    triton_grpc: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1:8001",)
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    api_keys_file: Path | None = None
    no_keys_needed: bool = False
    rate_limit: str = "120/minute"
    concurrent_requests: int = Field(16, ge=1)
    max_body_bytes: int = Field(20_000_000, ge=1)
    request_seconds: float = Field(300, gt=0)
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()

    cache_bytes: int = Field(64_000_000, ge=0)
    store: str = "sqlite:///~/.cache/latent-relay/gateway.sqlite"
    results_seconds: int = Field(3600, ge=1)
    max_jobs: int = Field(1000, ge=1)
    log_level: str = "INFO"

    @field_validator("triton_grpc", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def on_loopback(self) -> bool:
        if self.gateway_bind == "localhost":
            return True
        return ipaddress.ip_address(self.gateway_bind).is_loopback

    @model_validator(mode="after")
    def _not_open_to_strangers(self) -> GatewaySettings:
        if not (self.on_loopback or self.api_keys_file or self.no_keys_needed):
            raise ValueError(
                f"GATEWAY_BIND={self.gateway_bind} is not loopback: set API_KEYS_FILE, "
                "or NO_KEYS_NEEDED=true where something in front looks who comes in"
            )
        return self
