from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ray_stages.serving import latents_dump
from ray_stages.serving.latents_dump import LatentsDump, latents_image

LATENTS = np.random.default_rng(0).normal(size=(2, 4, 8, 8)).astype(np.float32)


def test_latents_and_their_image_are_in_a_folder_named_after_the_request(tmp_path: Path) -> None:
    dump = LatentsDump(tmp_path, max_bytes=10**6)
    strided = np.stack([LATENTS, 2 * LATENTS], axis=1)
    dump.write("mine", {3: strided[:, 0], 6: strided[:, 1]})
    dump.close()
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == [
        "step_003.png",
        "step_003.safetensors",
        "step_006.png",
        "step_006.safetensors",
    ]
    np.testing.assert_array_equal(
        load_file(tmp_path / "mine" / "step_006.safetensors")["latents"], 2 * LATENTS
    )
    zoom = latents_dump.ZOOM
    assert Image.open(tmp_path / "mine" / "step_003.png").size == (4 * 8 * zoom, 2 * 8 * zoom)


@pytest.mark.parametrize("name", ["../../etc", "/root/x", "a/b", "..", "", "x" * 300, "ö\0"])
def test_no_request_id_writes_outside_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    dump = LatentsDump(folder, max_bytes=10**6)
    dump.write(name, {1: LATENTS})
    dump.close()
    (made,) = folder.iterdir()
    assert made.is_dir()
    assert len(list(made.iterdir())) == 2
    assert list(tmp_path.iterdir()) == [folder]


def test_the_oldest_are_deleted_when_the_folder_is_full(tmp_path: Path) -> None:
    dump = LatentsDump(tmp_path, max_bytes=3 * (LATENTS.nbytes + 2000))
    for i in range(6):
        dump.write(f"request-{i}", {1: LATENTS})
    dump.close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert "request-5" in left
    assert len(left) < 6


def test_requests_beyond_the_queue_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(latents_dump, "MAX_PENDING", 0)
    dump = LatentsDump(tmp_path, max_bytes=10**6)
    dump.write("mine", {1: LATENTS})
    dump.close()
    assert list(tmp_path.iterdir()) == []
    assert "event=latents_left_out request_id=mine" in caplog.text


def test_black_is_far_below_the_mean_and_white_far_above() -> None:
    grey = np.asarray(latents_image(np.array([[[[-9.0]], [[0.0]], [[9.0]]]], np.float32)))
    zoom = latents_dump.ZOOM
    assert [int(grey[0, i * zoom]) for i in range(3)] == [0, 127, 255]
