"""The parts of the training recipe: latents, the text encoder's heads, the autoencoder, turbo."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler
from transformers import CLIPTokenizer

from training import everything
from training.autoencoder import build_autoencoder, faulty
from training.autoencoder import sample as sample_pictures
from training.captions import say
from training.common import Average, Clock
from training.diffusion import MakeBatch, build_scheduler, build_unet, sample_timesteps
from training.feed import stream
from training.foreign import TRAINED, UNSEEN, insert
from training.latents import (
    CHANNELS,
    LATENT_SIZE,
    compose,
    compose_anywhere,
    latents_of,
    object_weights,
)
from training.text_encoder import FIELDS, LAYOUTS, blocks_of, labels_of, sample
from training.tokenizer import build_tokenizer
from training.turbo import POINTS, Noise, build_turbo_scheduler
from training.world import GRID, IMAGE_SIZE, draw, sample_written


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


def test_composed_pictures_are_the_drawn_ones() -> None:
    rng = random.Random(0)
    for scene in (sample_written(rng) for _ in range(40)):
        drawn = np.asarray(draw(scene)).transpose(2, 0, 1) / 255
        assert np.abs(compose(scene, IMAGE_SIZE)[0] - drawn).max() < 1.5 / 255


def test_latents_are_the_picture_at_an_eighth() -> None:
    rng = random.Random(1)
    for scene in (sample_written(rng) for _ in range(20)):
        for composed, anywhere in zip(
            compose(scene, LATENT_SIZE), compose_anywhere(scene, LATENT_SIZE), strict=True
        ):
            assert np.abs(composed - anywhere).max() < 0.01


def test_latents_vary_by_about_one() -> None:
    rng = random.Random(2)
    latents = latents_of([sample_written(rng) for _ in range(200)])
    assert latents.shape == (200, CHANNELS, LATENT_SIZE, LATENT_SIZE)
    assert ((latents.std(dim=(0, 2, 3)) - 1).abs() < 0.35).all()


def test_small_objects_weigh_as_much_as_large_ones() -> None:
    rng = random.Random(3)
    scenes = [sample_written(rng) for _ in range(50)]
    sums = (object_weights(latents_of(scenes)) - 1)[:, 0].sum(dim=(1, 2))
    assert torch.allclose(sums, sums[:1].expand_as(sums), rtol=1e-3)


def test_blocks_go_row_by_row() -> None:
    latents = torch.zeros(1, CHANNELS, LATENT_SIZE, LATENT_SIZE)
    latents[0, :, 1, 6] = 1  # the second block of the first row
    assert blocks_of(latents).sum(dim=2).nonzero().tolist() == [[0, 1]]


def test_labels_tell_what_was_said_and_no_more() -> None:
    rng = random.Random(4)
    for _ in range(300):
        scene = sample_written(rng)
        _, said = say(scene, rng)
        labels = dict(zip(FIELDS, labels_of(scene, said), strict=True))
        told = {name: FIELDS[name][0][index] for name, index in labels.items()}
        assert (told["background"] == scene.background) == said.background
        assert told["shape 1"] == scene.objects[0].shape
        assert (told["size 1"] == scene.objects[0].size) == said.sizes[0]
        assert (told["shape 2"] == "absent") == (len(scene.objects) == 1)
        assert told["layout"] in LAYOUTS


def test_an_empty_caption_says_nothing() -> None:
    told = [FIELDS[name][0][label] for name, label in zip(FIELDS, labels_of(None, None))]  # noqa: B905
    assert set(told) == {"unsaid", "absent"}


def test_captions_leave_room_for_the_canvas(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(5)
    texts = [insert(sample(rng)[0], rng) for _ in range(500)]
    lengths = [len(ids) for ids in tokenizer(texts).input_ids]
    assert max(lengths) <= tokenizer.model_max_length - 16


def test_words_held_out_are_not_trained_on() -> None:
    assert not set(TRAINED) & set(UNSEEN)
    assert len(UNSEEN) > 20


def test_foreign_words_keep_the_caption_in_order() -> None:
    rng = random.Random(6)
    words = insert("a red circle", rng, UNSEEN).split()
    assert [word for word in words if word not in UNSEEN] == ["a", "red", "circle"]
    assert len(words) > 3


def test_a_batch_is_of_new_scenes(tokenizer: CLIPTokenizer) -> None:
    batches = stream(MakeBatch(tokenizer, 4), seed=0)
    (latents, tokens), (others, _) = next(batches), next(batches)
    assert latents.shape == (4, CHANNELS, LATENT_SIZE, LATENT_SIZE)
    assert tokens.shape == (4, tokenizer.model_max_length)
    assert not torch.equal(latents, others)


def test_timesteps_lean_to_noise() -> None:
    timesteps = sample_timesteps(1000, 0.5).float()
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert timesteps.mean() > 600


def test_pictures_and_latents_are_cut_alike() -> None:
    rng = random.Random(7)
    for _ in range(20):
        picture, latents, _ = sample_pictures(rng, LATENT_SIZE // 2)
        cells = picture.reshape(3, 8, GRID, 8, GRID).mean(axis=(2, 4))
        expected = (cells / 2 + 0.5 - 0.5) * 3
        assert np.abs(latents[:3] - expected).max() < 0.05


def test_faults_are_small_and_of_all_strengths() -> None:
    latents = torch.zeros(256, 4, 8, 8)
    strengths = faulty(latents, latents).std(dim=(1, 2, 3))
    assert strengths.min() < 0.01
    assert 0.2 < strengths.max() < 0.4


def test_the_quantisers_change_nothing() -> None:
    model = build_autoencoder()
    moments = torch.randn(1, 8, 4, 4)
    assert torch.equal(model.quant_conv(moments)[:, :4], moments[:, :4])
    assert torch.equal(model.post_quant_conv(moments[:, :4]), moments[:, :4])


def test_the_unet_begins_with_no_answer() -> None:
    found = build_unet()(torch.randn(1, 4, 16, 16), 999, torch.randn(1, 64, 128)).sample
    assert found.abs().max() == 0


def test_the_average_follows() -> None:
    module = torch.nn.Linear(1, 1)
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1)
    for _ in range(50):
        average.update(module)
    assert torch.allclose(average.module.weight, module.weight, atol=1e-3)


def test_the_clock_counts_work_and_not_waiting() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU's clock counts waiting")
    clock = Clock(minutes=1, elapsed=30)
    assert clock.progress == 0.5
    assert clock.learning_rate(1.0) == pytest.approx(0.52, abs=0.02)
    subprocess.run(["sleep", "0.3"], check=True)
    clock.tick()
    assert clock.elapsed - 30 < 0.2
    assert Clock(minutes=1, elapsed=60).learning_rate(1.0) == pytest.approx(1e-3)


def test_consistency_points_are_the_teachers_own_steps() -> None:
    teacher: DDIMScheduler = build_scheduler()
    teacher.set_timesteps(POINTS)
    noise = Noise(torch.device("cpu"))
    assert noise.timesteps[1:].flip(0).tolist() == teacher.timesteps.tolist()
    assert noise.noise[-1] == 1
    assert noise.noise[0] == 0


def test_clean_and_left_undo_the_mix() -> None:
    noise = Noise(torch.device("cpu"))
    clean, left = torch.randn(2, POINTS, 4, 8, 8)
    points = torch.arange(1, POINTS + 1)
    mixed = noise.mix(clean, left, points)
    v = noise.mix(left, -clean, points)
    assert torch.allclose(noise.clean(mixed, v, points), clean, atol=1e-5)
    assert torch.allclose(noise.left(mixed, v, points), left, atol=1e-5)


def test_the_turbo_samples_at_its_points() -> None:
    scheduler: LCMScheduler = build_turbo_scheduler()
    points = set(Noise(torch.device("cpu")).timesteps.tolist())
    for steps in (1, 2, 4):
        scheduler.set_timesteps(steps)
        assert set(scheduler.timesteps.tolist()) <= points
        assert scheduler.timesteps[0] == 999


def test_tracks_run_beside_each_other_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits_for(name: str, then: str) -> list[str]:
        return ["sh", "-c", f"until [ -e {name} ]; do sleep 0.01; done; touch {then}"]

    monkeypatch.chdir(tmp_path)
    Path("start").touch()
    first = [waits_for("start", "a"), waits_for("b", "c")]
    second = [waits_for("a", "b"), waits_for("c", "d")]
    everything.run_tracks([first, second])
    assert (tmp_path / "d").exists()


def test_a_failing_track_stops_the_others() -> None:
    fails = [sys.executable, "-c", "raise SystemExit(1)"]
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(SystemExit, match="failed"):
        everything.run_tracks([[fails], [waits]])
