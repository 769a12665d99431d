"""How every package of this repository reads its settings: from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from typing_extensions import Self

PASSWORD = re.compile("//[^/@]*@")  # of a URL


class EnvSettings(BaseSettings):
    """Settings whose fields are set by the environment variables of their names in capitals.

    The fields of a nested model have its name in front: `UNET_REPLICAS` sets `unet.replicas`.
    `from_env` reads the environment; the constructor reads none, so that `Settings(device="cpu")`
    means the same everywhere. Instances are frozen, hashable and can be pickled.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings as `environ` says; an empty variable counts as not set.

        Raises ValueError with one line for each wrong variable: its name, its value and what
        would be right.
        """
        source = EnvSettingsSource(cls)
        source.env_vars = {
            name.lower(): value.strip()
            for name, value in environ.items()
            if name.isupper() and value.strip()
        }
        try:
            return cls(**source())
        except ValidationError as error:
            raise ValueError("\n".join(map(_describe, error.errors()))) from None


def variables(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The name of each environment variable that a settings class reads, and its field."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from variables(kind, f"{prefix}{name}_".upper())
        else:
            yield f"{prefix}{name}".upper(), field


def _describe(error: ErrorDetails) -> str:
    variable = "_".join(part for part in error["loc"] if isinstance(part, str)).upper()
    given: Any = error["input"]
    value = "" if given is None else PASSWORD.sub("//***@", str(given))
    return f"{variable}={value}: {error['msg'].removeprefix('Value error, ')}"
