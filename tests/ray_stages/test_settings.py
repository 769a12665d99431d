from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from ray_stages.settings import STAGES, Settings, StageSettings, UNetSettings


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model_index.json").write_text("{}")
    return str(tmp_path)


def test_each_field_is_the_variable_of_its_name(model: str) -> None:
    environ = {"MODEL": model, "HTTP_PORT": "0", "UNET_CPUS": "1.5", "LOG_LEVEL": " DEBUG "}
    settings = Settings.from_env(environ)
    assert (settings.http_port, settings.unet.cpus, settings.log_level) == (0, 1.5, "DEBUG")
    assert settings.grpc_port == 8001


def test_an_empty_variable_is_not_set(model: str) -> None:
    assert Settings.from_env({"MODEL": model, "HTTP_PORT": ""}).http_port == 8000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTTP_PORT", "eighty", "HTTP_PORT=eighty: Input should be a valid integer"),
        ("HTTP_PORT", "65536", "HTTP_PORT=65536: Input should be less than or equal to 65535"),
        ("DEVICE", "gpu", "DEVICE=gpu: not auto, cpu, cuda or cuda:N"),
        ("PRECISION", "int4", "PRECISION=int4: Input should be 'auto', 'float32', 'float16'"),
        ("UNET_RUNTIME", "tvm", "UNET_RUNTIME=tvm: Input should be 'auto', 'torch', 'torch-com"),
        ("UNET_REPLICAS", "0", "UNET_REPLICAS=0: Input should be greater than 0"),
        ("UNET_REPLICA", "2", "UNET_REPLICA=2: Extra inputs are not permitted"),
        ("UNET_CPUS", "inf", "UNET_CPUS=inf: Input should be a finite number"),
        ("UNET_DEEP_EVERY", "0", "UNET_DEEP_EVERY=0: Input should be greater than 0"),
        ("VAE_ENCODER_REPLICAS", "0", "VAE_ENCODER_REPLICAS=0: Input should be greater than 0"),
        ("MAX_IMAGE_PIXELS", "0", "MAX_IMAGE_PIXELS=0: Input should be greater than 0"),
        ("GRPC_TLS_CERTIFICATE", __file__, "GRPC_TLS_KEY=: GRPC_TLS_CERTIFICATE and"),
        ("GRPC_TLS_KEY", __file__, f"GRPC_TLS_KEY={__file__}: GRPC_TLS_CERTIFICATE and"),
        ("MODEL", "/nowhere", "MODEL=/nowhere: not a checkpoint's folder or a Hugging Face id"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, message: str, model: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Settings.from_env({"MODEL": model, name: value})


def test_all_wrong_values_are_named_at_once() -> None:
    wrong = {"MODEL": "/nowhere", "HTTP_PORT": "x", "UNET_CPUS": "-1", "VAE_DECODER_RUNTIME": "y"}
    with pytest.raises(ValueError, match="MODEL=/nowhere: ") as told:
        Settings.from_env({**wrong, "MAX_STEPS": "20"})
    lines = str(told.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{n}={v}" for n, v in wrong.items()]


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "1")
    monkeypatch.setenv("UNET_CPUS", "2")
    assert Settings() == Settings.from_env({})
    assert Settings.from_env().unet == UNetSettings(cpus=2)


def test_folders_are_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some" / "model").mkdir(parents=True)
    (tmp_path / "some" / "model" / "model_index.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.from_env({"MODEL": "some/model", "CACHE_DIR": "~/cache"})
    assert settings.model == str(tmp_path / "some" / "model")
    assert settings.cache_dir == tmp_path / "cache"


def test_a_hugging_face_id_is_a_model() -> None:
    assert Settings.from_env({"MODEL": "stabilityai/sd-turbo"}).model == "stabilityai/sd-turbo"


def test_replicas_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    settings = Settings(
        unet=UNetSettings(replicas=2, max_replicas=3), vae_decoder=StageSettings(threads=5)
    )
    assert settings.resources("unet").threads == 2
    assert settings.resources("vae_decoder").threads == 5
    assert settings.resources("text_encoder").threads == 8


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().http_port = 1
    with pytest.raises(ValidationError, match="frozen"):
        Settings().unet.cpus = 1


def test_settings_travel_to_other_processes() -> None:
    settings = Settings(device="cpu", unet=UNetSettings(replicas=2))
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, Settings(device="cpu", unet=UNetSettings(replicas=2))}) == 1


def test_a_changed_copy_is_checked() -> None:
    assert Settings().replace(device="cpu").device == "cpu"
    with pytest.raises(ValidationError):
        Settings().replace(device="gpu")


def test_stages_do_not_depend_on_what_only_the_launcher_reads() -> None:
    settings = Settings(max_steps=7, http_port=1, log_to="stdout", run_dir=Path("/elsewhere"))
    assert settings.of_stages() == Settings(max_steps=7)


def test_every_field_that_is_a_stage_is_one() -> None:
    assert STAGES == ("text_encoder", "unet", "vae_decoder", "vae_encoder")
