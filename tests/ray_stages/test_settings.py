from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ray_stages.settings import Settings


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model_index.json").write_text("{}")
    return str(tmp_path)


def test_each_field_is_the_variable_of_its_name(model: str) -> None:
    environ = {"MODEL": model, "HTTP_PORT": "0", "UNET_CPUS": "1.5", "LOG_LEVEL": " DEBUG "}
    settings = Settings.from_env(environ)
    assert (settings.http_port, settings.unet_cpus, settings.log_level) == (0, 1.5, "DEBUG")
    assert settings.grpc_port == 8001


def test_an_empty_variable_is_not_set(model: str) -> None:
    assert Settings.from_env({"MODEL": model, "HTTP_PORT": ""}).http_port == 8000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTTP_PORT", "eighty", "HTTP_PORT='eighty' is not of type int"),
        ("HTTP_PORT", "65536", "HTTP_PORT=65536 is not 0 to 65535"),
        ("DEVICE", "gpu", "DEVICE=gpu is not auto, cpu, cuda or cuda:N"),
        ("PRECISION", "int4", "PRECISION=int4 is not one of auto, float32, float16, bfloat16"),
        ("UNET_RUNTIME", "tvm", "UNET_RUNTIME=tvm is not one of auto, torch, torch-compile"),
        ("UNET_REPLICAS", "0", "UNET_REPLICAS=0 is not at least 1"),
        ("UNET_DEEP_EVERY", "0", "UNET_DEEP_EVERY=0 is not at least 1"),
        ("VAE_ENCODER_REPLICAS", "0", "VAE_ENCODER_REPLICAS=0 is not at least 1"),
        ("MAX_IMAGE_PIXELS", "0", "MAX_IMAGE_PIXELS=0 is not at least 1"),
        ("GRPC_TLS_CERTIFICATE", __file__, "GRPC_TLS_KEY= is not given beside GRPC_TLS_CERT"),
        ("GRPC_TLS_KEY", __file__, "GRPC_TLS_CERTIFICATE= is not given beside GRPC_TLS_KEY"),
        ("MODEL", "/nowhere", "MODEL=/nowhere is not a checkpoint's directory or a"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, message: str, model: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_env({"MODEL": model, name: value})


def test_folders_are_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some" / "model").mkdir(parents=True)
    (tmp_path / "some" / "model" / "model_index.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.from_env({"MODEL": "some/model", "CACHE_DIR": "~/cache"})
    assert settings.model == str(tmp_path / "some" / "model")
    assert settings.cache_dir == str(tmp_path / "cache")


def test_a_hugging_face_id_is_a_model() -> None:
    assert Settings.from_env({"MODEL": "stabilityai/sd-turbo"}).model == "stabilityai/sd-turbo"


def test_replicas_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    settings = Settings(unet_replicas=3, vae_decoder_threads=5)
    assert settings.resources("unet").threads == 2
    assert settings.resources("vae_decoder").threads == 5
    assert settings.resources("text_encoder").threads == 8


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().http_port = 1  # type: ignore[misc]
