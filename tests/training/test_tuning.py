"""Tuning on new pictures: the data, the guard, and a run from the command line."""

import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline

from training.known import CHECKPOINT
from training.tune import BROKEN_GUARD, main
from training.tuning.examples import (
    Example,
    NoExamples,
    Rotation,
    hold_out,
    read_examples,
)
from training.tuning.measure import Losses
from training.tuning.report import Measured, best, table
from training.world import draw, sample_scene


def png(seed: int) -> bytes:
    file = io.BytesIO()
    draw(sample_scene(random.Random(seed))).save(file, "png")
    return file.getvalue()


def folder_of(place: Path, count: int) -> Path:
    place.mkdir()
    for seed in range(count):
        (place / f"{seed}.png").write_bytes(png(seed))
        (place / f"{seed}.txt").write_text(f"a thing {seed}")
    return place


def test_pictures_with_text_files(tmp_path: Path) -> None:
    examples = read_examples(folder_of(tmp_path / "new", 3))
    assert [example.caption for example in examples] == ["a thing 0", "a thing 1", "a thing 2"]
    assert examples[0].open(64).size == (64, 64)


def test_jsonl_names_pictures_and_classes(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(1))
    line = {"file_name": "one.png", "caption": "a thing", "kind": "things"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))
    (example,) = read_examples(tmp_path, "kind")
    assert example == Example(tmp_path / "one.png", "a thing", "things")


def test_parquet_of_the_batch_pipeline(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a thing", "png": png(1), "status": "ok"},
        {"prompt": "another", "png": None, "status": "error"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "part-0.parquet")
    (example,) = read_examples(tmp_path)
    assert example.caption == "a thing"
    assert example.open(128).size == (128, 128)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"file_name": "gone.png", "caption": "x"}, "gone.png"),
        ({"file_name": "one.png"}, "caption"),
        ({"file_name": "one.png", "caption": "x"}, "kind"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, line: dict[str, str], said: str) -> None:
    (tmp_path / "one.png").write_bytes(png(1))
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))
    with pytest.raises(NoExamples, match=said):
        read_examples(tmp_path, "kind")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoExamples, match="holds no"):
        read_examples(tmp_path)


def test_the_held_out_part_has_each_class_and_is_not_trained_on() -> None:
    examples = [Example(b"", str(n), "rare" if n < 3 else "common") for n in range(40)]
    kept, held = hold_out(examples, 0.1, seed=1)
    assert {example.label for example in held} == {"rare", "common"}
    assert len(held) == 5
    assert sorted(kept + held, key=lambda one: int(one.caption)) == examples
    assert hold_out(examples, 0.1, seed=1) == (kept, held)


def test_classes_take_turns() -> None:
    examples = [Example(b"", str(n), "rare" if n < 3 else "common") for n in range(40)]
    taken = Rotation(examples, random.Random(0)).take(74)
    labels = [examples[number].label for number in taken]
    assert labels.count("rare") == labels.count("common") == 37
    assert set(taken) == set(range(40))


def point(step: int, old: float, new: float) -> Measured:
    losses = [Losses(value, (value, value), {"all": value}) for value in (old, new)]
    return Measured(step, *losses)


def test_the_guard_keeps_the_old() -> None:
    history = [point(0, 1.0, 1.0), point(1, 1.01, 0.7), point(2, 1.2, 0.5)]
    assert best(history, None).step == 2
    assert best(history, 0.02).step == 1
    assert best(history, 0.0).step == 0
    assert "| new | 1.0000 | 0.7000 | -30.0% |" in table(history, history[1])


def arguments(tmp_path: Path, **more: str) -> list[str]:
    given = {
        "model": str(CHECKPOINT),
        "new": str(folder_of(tmp_path / "new", 6)),
        "out": str(tmp_path / "out"),
        "steps": "4",
        "batch": "2",
        "measure-every": "2",
        "rank": "4",
        **more,
    }
    return [part for name, value in given.items() for part in (f"--{name}", value) if part]


def test_an_adapter_that_can_be_loaded(tmp_path: Path) -> None:
    old = folder_of(tmp_path / "old", 6)
    assert main(arguments(tmp_path, old=str(old))) == 0
    out = tmp_path / "out"
    told = json.loads((out / "tuning.json").read_text())
    assert [one["step"] for one in told["measured"]] == [0, 2, 4]
    assert (out / "tuning.png").stat().st_size > 1000
    pipeline = StableDiffusionPipeline.from_pretrained(CHECKPOINT, torch_dtype=torch.float32)
    pipeline.load_lora_weights(out)
    assert pipeline.get_list_adapters() == {"unet": ["default_0"]}


def test_the_whole_checkpoint_goes_on_where_it_stopped(tmp_path: Path) -> None:
    old = folder_of(tmp_path / "old", 6)
    given = [*arguments(tmp_path, old=str(old)), "--whole"]
    assert main(given) == 0
    given[given.index("--steps") + 1] = "6"
    assert main(given) == 0
    told = json.loads((tmp_path / "out" / "tuning.json").read_text())
    assert [one["step"] for one in told["measured"]] == [0, 2, 4, 6]
    assert StableDiffusionPipeline.from_pretrained(tmp_path / "out").unet is not None


def test_a_result_that_breaks_the_guard_is_not_written(tmp_path: Path) -> None:
    old = folder_of(tmp_path / "old", 6)
    more = {"old": str(old), "old-share": "0", "learning-rate": "0.5", "guard": "0.001"}
    assert main(arguments(tmp_path, **more)) == BROKEN_GUARD
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_the_checkpoint_draws_its_own_old_pictures(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue star\n")
    more = {"old-prompts": str(prompts), "draw-old": "4"}
    assert main(arguments(tmp_path, **more)) == 0
    assert len(list((tmp_path / "out" / "old").glob("*.png"))) == 4


def test_nothing_to_keep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "prompts.txt"
    empty.write_text("\n")
    assert main(arguments(tmp_path, **{"old-prompts": str(empty)})) == 2
    assert "holds no prompts" in capsys.readouterr().err
