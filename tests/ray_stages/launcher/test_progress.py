from __future__ import annotations

from pathlib import Path

from ray_stages.launcher.progress import TAIL_BYTES, describe_progress

PREFIX = "(ServeReplica:unet:unet pid=1) INFO 2026-11-21 13:21:12,061 unet_unet x -- "


def test_slow_work_is_shown_until_the_stage_is_set_up(tmp_path: Path) -> None:
    log = tmp_path / "ray.log"
    assert describe_progress(log) == ""
    log.write_text("noise\n" * TAIL_BYTES)
    assert describe_progress(log) == ""
    with log.open("a") as file:
        print(f"{PREFIX}event=export stage=unet what=openvino-2026.4.1", file=file)
        print(f"{PREFIX}event=export stage=vae_decoder what=onnx", file=file)
        print(f"{PREFIX}event=measure stage=unet what=openvino,torch", file=file)
    assert describe_progress(log) == "unet compares openvino,torch, vae_decoder makes onnx"
    with log.open("a") as file:
        print(f"{PREFIX}event=set_up stage=unet model=miniature-sd", file=file)
    assert describe_progress(log) == "vae_decoder makes onnx"
