#!/usr/bin/env python3
"""Draw pictures with Latent Relay: a command, and a library for other programs.

As a command:
    python client.py "a red circle" -o circle.png
    python client.py "a red circle" "a blue star"       # out-1.png, out-2.png
    python client.py "a red circle" -o - | display      # the PNG on standard output
    python client.py "a red circle" --preview steps     # and how it came about
    python client.py "a red star" --init-image circle.png --strength 0.6

As a library:
    from client import Client

    with Client() as client:
        for picture in client.generate(["a red circle", "a blue star"], seed=7):
            picture.save(f"{picture.prompt}.png")
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    # An interrupt is one line of ours, also while this imports what it needs.
    signal.signal(
        signal.SIGINT, lambda *_: (os.write(2, b"client.py: interrupted\n"), os._exit(130))
    )

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from relay_client import AddressError, Client, Picture, Preview, RequestError
from relay_client.options import OPTIONS

__all__ = ["AddressError", "Client", "Picture", "Preview", "RequestError", "main"]

STDOUT = Path("-")
# Who runs this for another, as `make image` does, passes a Ctrl-C on as SIGTERM.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    title, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="client.py",
        usage="%(prog)s [options] prompt [prompt ...]",
        description=title,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("prompt", nargs="+", help="what to draw: a picture for each")
    for name, option in OPTIONS.items():
        action = "append" if name == "seed" else "store"
        add(f"--{name.replace('_', '-')}", type=option.kind, action=action, help=option.help)
    add("--init-image", type=Path, metavar="FILE", help="start from this picture")
    add("--strength", type=float, help="how far to go from it, 0 to 1")
    add("-o", "--out", type=Path, default=Path("out.png"), help="a file; - is standard output")
    add("--stream", action="store_true", help="show how far it is, step by step")
    add("--preview", type=Path, metavar="DIR", help="that, and keep each as DIR/step_001.png")
    add("--preview-every", type=int, metavar="N", help="steps from one to the next: 1")
    add("--dump-latents-every", type=int, metavar="N", help="keep them beside --out, as .npy")
    add("--timings", action="store_true", help="show the time in each stage")
    add("--json", action="store_true", help="print what came back as one JSON document")
    add("--http", action="store_true", help="HTTP in place of gRPC")
    add("--url", default="", help="host:port; or set TRITON_GRPC, TRITON_HTTP")
    add("--tls-ca", default="", metavar="FILE", help="gRPC with TLS; or set TRITON_TLS_CA")
    add("--timeout", type=float, default=300, help="seconds for the whole request: 300")
    add("--retries", type=int, default=3, help="while busy or out of reach: 3")
    add("--request-id", default="", help="stands in the server's logs")
    options = parser.parse_args(arguments)
    options.stream = options.stream or options.preview is not None
    if complaint := next(complaints(options), None):
        parser.error(complaint)
    return options


def complaints(options: argparse.Namespace) -> Iterator[str]:
    """What argparse does not see by itself."""
    if not 0 < options.timeout <= 86_400:
        yield f"--timeout: got {options.timeout}, expected up to a day of seconds"
    if options.url.startswith(("http://", "https://")) and not options.http:
        yield f"--url {options.url}: host:port is expected, or --http"
    output: Path = options.out
    if output == STDOUT:
        if options.json or options.dump_latents_every or len(options.prompt) > 1:
            yield "-o - takes one prompt, and neither --json nor --dump-latents-every"
    elif output.is_dir() or not output.parent.is_dir():
        yield f"-o {output}: a file in an existing directory is expected"
    if options.preview and options.preview.exists() and not options.preview.is_dir():
        yield f"--preview {options.preview}: a directory is expected"
    if options.preview_every is not None and not options.stream:
        yield "--preview-every goes with --stream or --preview"
    if options.stream and (options.init_image or options.dump_latents_every):
        yield "--stream goes neither with --init-image nor with --dump-latents-every"
    if options.init_image and not options.init_image.is_file():
        yield f"--init-image {options.init_image}: there is no such file"
    if options.strength is not None and not options.init_image:
        yield "--strength goes with --init-image"


def draw(options: argparse.Namespace) -> list[Picture]:
    """Generates, with a moving bar when somebody is looking."""
    number = len(options.prompt)
    client = Client(
        options.url,
        http=options.http,
        tls_ca=options.tls_ca,
        timeout=options.timeout,
        retries=options.retries,
    )
    waiting = Progress(
        TextColumn(f"drawing {number} picture{'s' * (number > 1)}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    chosen: dict[str, Any] = {name: getattr(options, name) for name in OPTIONS}
    chosen["request_id"] = options.request_id
    with client, waiting:
        bar = waiting.add_task("", total=None)
        if not options.stream:
            return client.generate(
                options.prompt,
                init_image=options.init_image.read_bytes() if options.init_image else None,
                strength=options.strength,
                dump_latents_every=options.dump_latents_every,
                **chosen,
            )
        if options.preview_every is not None:
            chosen["preview_every"] = options.preview_every
        pictures: list[Picture] = []
        for preview in client.stream(options.prompt, **chosen):
            step = f"step {preview.step} of {preview.steps}"
            waiting.update(bar, total=preview.steps, completed=preview.step, description=step)
            if options.preview:
                keep(preview, options.preview)
            pictures = preview.pictures
        return pictures


def keep(preview: Preview, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"step_{preview.step:03}.png"
    for picture, path in zip(preview.pictures, numbered(file, len(preview.pictures)), strict=True):
        picture.save(path)


def numbered(file: Path, count: int) -> list[Path]:
    if count == 1:
        return [file]
    return [file.with_stem(f"{file.stem}-{i + 1}") for i in range(count)]


def save(pictures: Sequence[Picture], output: Path) -> list[Path]:
    """Writes the pictures, and returns where each one is."""
    if output == STDOUT:
        sys.stdout.buffer.write(pictures[0].png)
        sys.stdout.buffer.flush()
        return [output]
    files = numbered(output, len(pictures))
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
        if picture.latents is not None:
            np.save(file.with_suffix(".npy"), picture.latents)
    return files


def report(pictures: Sequence[Picture], files: Sequence[Path], timings: bool) -> None:
    text = sys.stderr if STDOUT in files else sys.stdout
    for picture, file in zip(pictures, files, strict=True):
        width, height = picture.size
        print(f"{file}  {width}x{height}  seed {picture.seed}", file=text)
    if timings:
        for stage, (queue, compute) in pictures[0].stages.items():
            print(f"{stage:<13}{compute:9.1f} ms, after {queue:.1f} ms in queue", file=text)


def document(pictures: Sequence[Picture], files: Sequence[Path]) -> str:
    """The report for programs."""
    drawn = [
        {
            "file": str(file),
            "prompt": picture.prompt,
            "seed": picture.seed,
            "width": picture.size[0],
            "height": picture.size[1],
            "bytes": len(picture.png),
        }
        for picture, file in zip(pictures, files, strict=True)
    ]
    stages = {stage: spent._asdict() for stage, spent in pictures[0].stages.items()}
    return json.dumps({"pictures": drawn, "stages": stages}, indent=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 drawn, 1 refused or failed, 130 interrupted; argparse exits with 2."""
    try:
        options = parse(arguments)
        pictures = draw(options)
        files = save(pictures, options.out)
        if options.json:
            print(document(pictures, files))
        else:
            report(pictures, files, options.timings)
    except KeyboardInterrupt:
        print("client.py: interrupted", file=sys.stderr)
        return 130
    except (RequestError, AddressError, OSError) as error:
        print(f"client.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def interrupt(*_: object) -> None:
    """Once: what it sets off is bounded in time, and a second one does not cut it off."""
    for signum in INTERRUPTS:
        signal.signal(signum, lambda *_: None)
    raise KeyboardInterrupt


def command() -> int:
    """`main`, with both kinds of interrupt from its first moment on."""
    try:
        for signum in INTERRUPTS:
            signal.signal(signum, interrupt)
        return main()
    except KeyboardInterrupt:
        print("client.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(command())
