"""Tunes a checkpoint on new pictures without forgetting the old.

    python -m training.tune --model models/miniature-sd --new NEW --old OLD --out ADAPTER

NEW and OLD are folders or files with pictures and captions (`tuning/examples.py`). Each batch
mixes old and new by a set share, each class as often as any other. Without --old the checkpoint
first draws its own old pictures. Parts of both are set aside and only measured: before, during and
after, by timestep band and class. With --guard the result is the best point at which the old is at
most so much worse; if there is none, nothing is written and the command fails. A run that was
interrupted goes on where it stopped.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from tqdm import tqdm

from training.common import cosine, save_atomically
from training.tuning.checkpoint import Checkpoint, Encoded
from training.tuning.examples import Example, NoExamples, Rotation, hold_out, read_examples
from training.tuning.measure import loss_of, measure, noise_scheduler
from training.tuning.replay import draw_old, old_prompts
from training.tuning.report import Measured, best, table, write

STATE = "state.pt"
BROKEN_GUARD = 3  # the exit status


class Tuning:
    """One run: its data, what was measured so far, and the best weights that the guard allows."""

    def __init__(self, args: argparse.Namespace, accelerator: Accelerator) -> None:
        self.args, self.accelerator = args, accelerator
        torch.manual_seed(args.seed)
        device = accelerator.device
        self.checkpoint = Checkpoint(args.model, device, 0 if args.whole else args.rank)
        self.scheduler = noise_scheduler(self.checkpoint)
        self.new, self.held_new = self._part(read_examples(args.new, args.class_column))
        self.old, self.held_old = self._part(self._old_examples())
        self.optimizer = accelerator.prepare(
            torch.optim.AdamW(self.checkpoint.trained(), lr=args.learning_rate, weight_decay=0.0)
        )
        self.step = 0
        self.history: list[Measured] = []
        self.chosen = self.checkpoint.weights()
        self._resume()

    def _part(self, examples: list[Example]) -> tuple[Encoded, Encoded]:
        """What is trained on and what is held out, encoded; each class in both."""
        kept, held = hold_out(examples, self.args.held_out, self.args.seed)
        rotation = Rotation(held, random.Random(self.args.seed))
        held = [held[number] for number in rotation.take(min(len(held), self.args.most_held))]
        return self.checkpoint.encode(kept), self.checkpoint.encode(held)

    def _old_examples(self) -> list[Example]:
        args = self.args
        if args.old is not None:
            return read_examples(args.old, args.class_column)
        prompts = old_prompts(self.checkpoint, args.old_prompts, args.draw_old, args.seed)
        return draw_old(self.checkpoint, prompts, args.out / "old", args.seed)

    def run(self) -> Measured:
        """Trains to the last step, measuring on the way; returns the chosen point."""
        args = self.args
        if not self.history:
            self._measure()
        rng = random.Random(args.seed + self.step)
        rotations = [Rotation(_labelled(part), rng) for part in (self.old, self.new)]
        count_old = round(args.batch * args.old_share)
        bar = tqdm(desc="tunes", initial=self.step, total=args.steps, unit="step")
        while self.step < args.steps:
            for group in self.optimizer.param_groups:
                group["lr"] = args.learning_rate * cosine(self.step / args.steps)
            parts = [
                (self.old, rotations[0].take(count_old)),
                (self.new, rotations[1].take(args.batch - count_old)),
            ]
            loss = self._loss(parts)
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.checkpoint.trained(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            if self.step % args.measure_every == 0 or self.step == args.steps:
                self._measure()
                self._save()
        bar.close()
        return best(self.history, args.guard)

    def _loss(self, parts: list[tuple[Encoded, list[int]]]) -> torch.Tensor:
        device = self.checkpoint.device
        latents = torch.cat([part.latents[rows] for part, rows in parts]).to(device)
        words = torch.cat([part.words[rows] for part, rows in parts]).to(device)
        dropped = torch.rand(len(words), device=device) < self.args.drop_captions
        words = torch.where(dropped[:, None, None], self.checkpoint.words([""]), words)
        noise = torch.randn_like(latents)
        total = self.scheduler.config.num_train_timesteps
        timesteps = torch.randint(0, total, (len(latents),), device=device)
        with self.accelerator.autocast():
            rows = loss_of(self.checkpoint, self.scheduler, latents, words, noise, timesteps)
        return rows.mean()

    def _measure(self) -> None:
        """Appends a point, and keeps the weights if it is the best so far."""
        held = (self.held_old, self.held_new)
        losses = [measure(self.checkpoint, self.scheduler, part) for part in held]
        self.history.append(Measured(self.step, *losses))
        if best(self.history, self.args.guard).step == self.step:
            self.chosen = self.checkpoint.weights()
        print(f" step {self.step}: old {losses[0].mean:.4f}, new {losses[1].mean:.4f}", flush=True)

    def _save(self) -> None:
        state = {
            "weights": self.checkpoint.weights(),
            "chosen": self.chosen,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": json.dumps([point.as_json() for point in self.history]),
            "random": torch.get_rng_state(),
        }
        save_atomically(state, self.args.out / STATE)

    def _resume(self) -> None:
        if not (self.args.out / STATE).exists():
            return
        state = torch.load(self.args.out / STATE, map_location="cpu")
        self.checkpoint.set_weights(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.chosen, self.step = state["chosen"], state["step"]
        self.history = [Measured.from_json(told) for told in json.loads(state["history"])]
        torch.set_rng_state(state["random"])


def _labelled(part: Encoded) -> list[Example]:
    return [Example(b"", "", label) for label in part.labels]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a Stable Diffusion checkpoint")
    parser.add_argument("--new", type=Path, required=True, help="a folder, .jsonl or .parquet")
    parser.add_argument("--old", type=Path, help="likewise; left out: the checkpoint draws them")
    parser.add_argument("--old-prompts", type=Path, help="what it draws then, one a line")
    parser.add_argument("--draw-old", type=int, default=512, help="so many pictures")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the result")
    parser.add_argument("--whole", action="store_true", help="the whole UNet, not an adapter")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--old-share", type=float, default=0.5, help="of each batch")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--drop-captions", type=float, default=0.1)
    parser.add_argument("--class-column", help="in JSONL or Parquet; of folders, their names")
    parser.add_argument("--held-out", type=float, default=0.1, help="share that is only measured")
    parser.add_argument("--most-held", type=int, default=128, help="of old and of new")
    parser.add_argument("--measure-every", type=int, default=100, help="steps")
    parser.add_argument("--guard", type=float, help="how much worse the old may be: 0.02 is 2 %%")
    parser.add_argument("--precision", choices=("no", "fp16", "bf16"), help="left out: by device")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if not 0 <= args.old_share < 1:
        parser.error("--old-share must be at least 0 and below 1")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    precision = args.precision or ("bf16" if torch.cuda.is_available() else "no")
    accelerator = Accelerator(mixed_precision=precision)
    try:
        tuning = Tuning(args, accelerator)
    except NoExamples as error:
        print(error, file=sys.stderr)
        return 2
    chosen = tuning.run()
    write(tuning.history, chosen, args.out)
    print(table(tuning.history, chosen))
    if chosen.step == 0:
        print(
            f"no point keeps the old within {args.guard:.1%}: nothing is written", file=sys.stderr
        )
        return BROKEN_GUARD
    tuning.checkpoint.set_weights(tuning.chosen)
    tuning.checkpoint.save(args.out)
    print(f"step {chosen.step} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
