"""The operators draw what the stages of the service draw, which are tested against diffusers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.configuration.options import OPERATORS, OperatorOptions
from batch.dataflow import GPU_SHARES, STAGE_ACTORS, actor_with_arguments, with_default_gpus
from batch.inputs.row_preparer import RowPreparer
from batch.operators.stages import Decode, Denoise, Encode
from batch.rows import to_table
from ray_stages.requests.image_file import PNG_SIGNATURE
from tests.support.batch_inputs import preparer_for, torch_pipeline, write_rows
from tests.support.parity import InProcessStages
from tests.support.pictures import TOLERANCE, max_difference

MIXED = [
    {"prompt": f"picture {n}", "steps": 3 + n % 4, "width": 64 + 64 * (n % 2), "guidance_scale": g}
    for n, g in enumerate((7.5, 1.0, 3.0, 7.5, 0.0, 5.0))
]


@pytest.fixture(scope="module")
def preparer(
    tmp_path_factory: pytest.TempPathFactory, checkpoint_folder: Callable[[str], Path]
) -> RowPreparer:
    folder = tmp_path_factory.mktemp("stages")
    path = write_rows(folder / "p.jsonl", MIXED)
    draw = {"columns": ["steps", "width", "guidance_scale"], "negative_prompt": "a dull photo"}
    model = checkpoint_folder("sd15")
    return preparer_for(torch_pipeline(path, folder / "out", model, draw=draw))


@pytest.fixture(scope="module")
def actors(preparer: RowPreparer) -> Iterator[list[Any]]:
    actors: list[Any] = []
    for name in ("encode", "denoise", "decode"):
        options = OperatorOptions(**{**vars(preparer.pipeline.operator(name)), "gpus": 0.0})
        kind, arguments = actor_with_arguments(name, options, preparer)
        actors.append(kind(*arguments))
    yield actors
    actors[1].engine.close()


def test_mixed_rows_are_drawn_as_the_service_draws_them(
    preparer: RowPreparer, actors: list[Any]
) -> None:
    rows = [preparer.prepare(f"p-{n}", row) for n, row in enumerate(MIXED)]
    rows.append({"key": "bad", "status": "error", "error": "prompt: got nothing"})
    batch = to_table(rows)
    for actor in actors:
        batch = actor(batch)
    *drawn, bad = batch.to_pylist()
    service = InProcessStages(actors[0].checkpoint)
    expected = service.draw(rows[:-1])
    service.engine.close()
    for row, picture in zip(drawn, expected, strict=True):
        assert row["png"].startswith(PNG_SIGNATURE)
        assert max_difference(row["png"], picture) <= TOLERANCE
        assert row["embeds"] is row["latents"] is None
    assert (bad["png"], bad["error"]) == (None, "prompt: got nothing")


def test_the_engine_is_the_services_own_with_the_operators_row_limit(actors: list[Any]) -> None:
    assert actors[1].engine.max_rows == 8


def test_a_row_that_the_engine_refuses_fails_alone(
    preparer: RowPreparer, actors: list[Any]
) -> None:
    rows = [preparer.prepare(f"p-{n}", row) for n, row in enumerate(MIXED[:4])]
    rows[1] |= {"scheduler": "lcm", "steps": 60}
    encoded = actors[0](to_table(rows)).to_pylist()
    encoded[2]["embeds"] = encoded[2]["embeds"][:-4]
    first, refused, broken, last = actors[1](to_table(encoded)).to_pylist()
    assert (first["status"], last["status"]) == ("ok", "ok")
    assert refused["error"].startswith("steps: got 60, expected a number that scheduler lcm takes")
    assert broken["error"] == "ValueError in an operator"
    assert refused["latents"] is broken["latents"] is None


def test_every_operator_has_a_stage_and_a_share_of_a_gpu() -> None:
    assert {"encode": Encode, "denoise": Denoise, "decode": Decode} == STAGE_ACTORS
    assert GPU_SHARES.keys() == set(OPERATORS)
    assert sum(GPU_SHARES.values()) == pytest.approx(1)


def test_operators_share_the_available_gpus(
    preparer: RowPreparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = preparer.settings.replace(device="auto")
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": 2.0})
    shares = {name: with_default_gpus(name, OperatorOptions(), settings).gpus for name in OPERATORS}
    assert shares == GPU_SHARES
    assert with_default_gpus("decode", OperatorOptions(gpus=0.25), settings).gpus == 0.25
    assert (
        with_default_gpus("denoise", OperatorOptions(), preparer.settings).gpus == 0
    )  # device = "cpu"
    monkeypatch.setattr("ray.cluster_resources", dict)
    assert with_default_gpus("denoise", OperatorOptions(), settings).gpus == 0


def test_an_operator_without_a_gpu_uses_the_cpu(preparer: RowPreparer) -> None:
    (with_gpu,) = actor_with_arguments("denoise", OperatorOptions(gpus=0.5, threads=3), preparer)[1]
    (without,) = actor_with_arguments("denoise", OperatorOptions(gpus=0, max_rows=6), preparer)[1]
    assert (without.device, without.unet.max_rows) == ("cpu", 6)
    assert (with_gpu.device, with_gpu.unet.threads) == (preparer.settings.device, 3)
