"""Writes docs/settings.md from the settings classes: `python -m scripts.settings_table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from env_settings import EnvSettings
from gateway.settings import GatewaySettings
from ray_stages.settings import (
    ROOT,
    STAGES,
    BridgeSettings,
    CommonSettings,
    DenoisingSettings,
    LauncherSettings,
    ModelSettings,
    RequestLimits,
    ScalingSettings,
    Settings,
    StageSettings,
)

FILE = ROOT / "docs" / "settings.md"
SECTIONS: Mapping[str, type[EnvSettings]] = {
    "Model": ModelSettings,
    "Limits of a request": RequestLimits,
    "Denoising": DenoisingSettings,
    "Scaling": ScalingSettings,
    "Bridges": BridgeSettings,
    "Launcher": LauncherSettings,
    "Common": CommonSettings,
    "Gateway": GatewaySettings,
}
HEAD = """\
# Settings

<!-- Written by `python -m scripts.settings_table`; its texts are those of the settings classes. -->

Each setting is an environment variable. `make serve NAME=value` sets it too. An empty variable
counts as not set. A process that finds wrong values ends at once and names all of them: variable,
value and what would be right.

Times are in seconds. Lists are separated by commas. `client.py` and `make image` read
`TRITON_GRPC` and `TRITON_HTTP` (host:port), and `TRITON_TLS_CA`.
"""
COLUMNS = "| name | type | default | |\n|---|---|---|---|"


def document() -> str:
    parts = [HEAD]
    for heading, settings in SECTIONS.items():
        rows = [_row(name.upper(), *field) for name, field in _fields(settings)]
        parts.append(_section(heading, settings.__doc__ or "", rows))
        if settings is ModelSettings:
            parts.append(_stages())
    return "\n".join(parts)


def _stages() -> str:
    """What all stages have, once, with the defaults of each; then what only some have."""
    stages = {stage: type(getattr(Settings(), stage)) for stage in STAGES}
    schemas = {stage: dict(_fields(kind)) for stage, kind in stages.items()}
    rows = []
    for name, (schema, default) in _fields(StageSettings):
        others = {s: own[name][1] for s, own in schemas.items() if own[name][1] != default}
        shown = [
            _default(default),
            *(f"`{value}` for `{stage}`" for stage, value in others.items()),
        ]
        rows.append(_line(f"…_{name}".upper(), schema, ", ".join(shown)))
    for stage, own in schemas.items():
        for name, field in own.items():
            if name not in StageSettings.model_fields:
                rows.append(_row(f"{stage}_{name}".upper(), *field))
    prefixes = ", ".join(f"`{stage.upper()}_`" for stage in STAGES)
    return _section("Stages", f"{StageSettings.__doc__} Names begin with {prefixes}.", rows)


def _section(heading: str, about: str, rows: list[str]) -> str:
    return "\n".join([f"## {heading}", "", about, "", COLUMNS, *rows, ""])


def _fields(settings: Any) -> Iterator[tuple[str, tuple[dict[str, Any], Any]]]:
    """Name, JSON schema and default of each field."""
    properties = settings.model_json_schema()["properties"]
    for name, field in settings.model_fields.items():
        yield name, (properties[name], field.default)


def _row(variable: str, schema: dict[str, Any], default: object) -> str:
    return _line(variable, schema, _default(default))


def _line(variable: str, schema: dict[str, Any], default: str) -> str:
    text = " ".join(schema.get("description", "").split())
    return f"| `{variable}` | {_type(schema)} | {default} | {text} |"


def _default(value: object) -> str:
    if value in (None, "", ()):
        return "none"
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text.replace(f'{ROOT}/', '')}`"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return _type(next(one for one in schema["anyOf"] if one["type"] != "null"))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = {"string": "text", "array": "list"}.get(schema["type"], str(schema["type"]))
    if "format" in schema:
        kind = "path"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    limits = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()


if __name__ == "__main__":
    FILE.write_text(document())
