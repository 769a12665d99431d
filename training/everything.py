"""The whole recipe, from nothing to a measured checkpoint, in a given time.

    python -m training.everything --minutes 9

Made for a machine with one GPU and PyTorch, diffusers, transformers and SciPy alone; on CPUs it
does the same, slower. The autoencoder and the text encoder with the UNet do not need each other,
so both are trained at the same time. Each file of the checkpoint stays below 16 MB. A run that was
interrupted goes on where it stopped.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from training.common import WORK_DIRECTORY
from training.known import CHECKPOINT

SHARES = {"decoder": 0.58, "encoder": 0.2, "text_encoder": 0.14, "diffusion": 0.64}
LARGEST_FILE = 16_000_000
# batch sizes and learning rates: a GPU takes many pictures at once, a CPU takes many steps
ON_GPU = {
    "decoder": ["--batch", "48", "--learning-rate", "1.5e-3", "--feeders"],
    "encoder": ["--batch", "48", "--learning-rate", "1.5e-3", "--feeders"],
    "text_encoder": ["--batch", "384", "--learning-rate", "2e-3", "--decay", "0.998", "--feeders"],
    "diffusion": ["--batch", "384", "--learning-rate", "1.5e-3", "--decay", "0.999", "--feeders"],
}
FEEDERS_SHARE = {"decoder": 0.35, "encoder": 0.35, "text_encoder": 0.6, "diffusion": 0.6}


def command(part: str, minutes: float, work: Path) -> list[str]:
    """What trains one part for its share of the minutes."""
    module = ["autoencoder", part] if part in ("decoder", "encoder") else [part]
    called = [sys.executable, "-m", f"training.{module[0]}", *module[1:]]
    called += ["--minutes", f"{minutes * SHARES[part]:.3f}", "--work", str(work)]
    if torch.cuda.is_available():
        feeders = max(1, int((os.cpu_count() or 2) * FEEDERS_SHARE[part]))
        called += [*ON_GPU[part], str(feeders)]
    return called


def run_tracks(tracks: list[list[list[str]]]) -> None:
    """Runs each track's commands one after the other, the tracks beside each other."""
    running: list[tuple[subprocess.Popen[bytes], list[list[str]]]] = []
    try:
        running = [(subprocess.Popen(track[0]), track[1:]) for track in tracks]
        while running:
            for index, (process, rest) in enumerate(running):
                if process.poll() is None:
                    continue
                if process.returncode:
                    raise SystemExit(f"{' '.join(map(str, process.args))} failed")  # type: ignore[arg-type]
                if rest:
                    running[index] = (subprocess.Popen(rest[0]), rest[1:])
                else:
                    del running[index]
                break
            time.sleep(0.2)
    finally:
        for process, _ in running:
            process.terminate()


def run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"training.{module}", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="for all of it")
    parser.add_argument("--prompts", type=int, default=320, help="for the evaluation")
    parser.add_argument("--search-prompts", type=int, default=64, help="for steps and guidance")
    parser.add_argument("--work", type=Path, default=WORK_DIRECTORY)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    args = parser.parse_args()
    started = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)
    parts = {part: command(part, args.minutes, args.work) for part in SHARES}
    text = args.work / "text_encoder"
    parts["diffusion"] += ["--text", str(text), "--vae", str(args.work / "decoder")]
    run_tracks([[parts["decoder"], parts["encoder"]], [parts["text_encoder"], parts["diffusion"]]])
    output = str(args.output)
    run("export", "--work", str(args.work), "--output", output)
    counts = ["--prompts", str(args.prompts), "--search-prompts", str(args.search_prompts)]
    run("evaluate", "--checkpoint", output, *counts)
    large = [path for path in args.output.rglob("*") if path.stat().st_size > LARGEST_FILE]
    if large:
        raise SystemExit(f"larger than {LARGEST_FILE} bytes: {', '.join(map(str, large))}")
    print(f"{args.output} in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
