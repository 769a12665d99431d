#!/usr/bin/env python3
"""Draw pictures with Latent Relay: a command, and a library for other programs.

As a command:
    python client.py "a red circle" -o circle.png
    python client.py "a red circle" "a blue star"       # out-1.png, out-2.png
    python client.py "a red circle" -o - | display      # the PNG on standard output
    python client.py "a red circle" --preview steps     # and a preview of each step
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
    # An interrupt prints one line and no traceback, also during the imports below.
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
# `make image` runs this as a child process, and passes Ctrl-C on as SIGTERM.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
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
    if error := next(option_errors(options), None):
        parser.error(error)
    return options


def option_errors(options: argparse.Namespace) -> Iterator[str]:
    """Yields the errors that argparse cannot find, such as options that exclude each other."""
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
    """Draws the pictures, with a progress bar where standard error is a terminal."""
    client = Client(
        options.url,
        http=options.http,
        tls_ca=options.tls_ca,
        timeout=options.timeout,
        retries=options.retries,
    )
    chosen: dict[str, Any] = {name: getattr(options, name) for name in OPTIONS}
    chosen["request_id"] = options.request_id
    with client, progress_bar(len(options.prompt)) as progress:
        if options.stream:
            return draw_stream(client, options, chosen, progress)
        progress.add_task("", total=None)
        return client.generate(
            options.prompt,
            init_image=options.init_image.read_bytes() if options.init_image else None,
            strength=options.strength,
            dump_latents_every=options.dump_latents_every,
            **chosen,
        )


def draw_stream(
    client: Client, options: argparse.Namespace, chosen: dict[str, Any], progress: Progress
) -> list[Picture]:
    """Draws the pictures step by step, and saves the previews where they were asked for."""
    task = progress.add_task("", total=None)
    if options.preview_every is not None:
        chosen["preview_every"] = options.preview_every
    pictures: list[Picture] = []
    for preview in client.stream(options.prompt, **chosen):
        step = f"step {preview.step} of {preview.steps}"
        progress.update(task, total=preview.steps, completed=preview.step, description=step)
        if options.preview:
            save_preview(preview, options.preview)
        pictures = preview.pictures
    return pictures


def progress_bar(count: int) -> Progress:
    return Progress(
        TextColumn(f"drawing {count} picture{'s' * (count > 1)}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def save_preview(preview: Preview, folder: Path) -> None:
    """Writes the pictures of a preview as step_001.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"step_{preview.step:03}.png"
    for picture, path in zip(
        preview.pictures, numbered_files(file, len(preview.pictures)), strict=True
    ):
        picture.save(path)


def numbered_files(file: Path, count: int) -> list[Path]:
    """Returns the file itself for one picture, else NAME-1.png, NAME-2.png and so on."""
    if count == 1:
        return [file]
    return [file.with_stem(f"{file.stem}-{i + 1}") for i in range(count)]


def save(pictures: Sequence[Picture], output: Path) -> list[Path]:
    """Writes the pictures, and their latents beside them. Returns the file of each."""
    if output == STDOUT:
        sys.stdout.buffer.write(pictures[0].png)
        sys.stdout.buffer.flush()
        return [output]
    files = numbered_files(output, len(pictures))
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
        if picture.latents is not None:
            np.save(file.with_suffix(".npy"), picture.latents)
    return files


def print_report(pictures: Sequence[Picture], files: Sequence[Path], timings: bool) -> None:
    """Prints a line for each picture, and the times of each stage where `timings` is set."""
    text = sys.stderr if STDOUT in files else sys.stdout
    for picture, file in zip(pictures, files, strict=True):
        width, height = picture.size
        print(f"{file}  {width}x{height}  seed {picture.seed}", file=text)
    if timings:
        for stage, (queue, compute) in pictures[0].stages.items():
            print(f"{stage:<13}{compute:9.1f} ms, after {queue:.1f} ms in queue", file=text)


def json_report(pictures: Sequence[Picture], files: Sequence[Path]) -> str:
    """Returns the report as a JSON document."""
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
    """Returns the exit status: 0 drawn, 1 refused or failed, 130 interrupted."""
    try:
        options = parse(arguments)
        pictures = draw(options)
        files = save(pictures, options.out)
        if options.json:
            print(json_report(pictures, files))
        else:
            print_report(pictures, files, options.timings)
    except KeyboardInterrupt:
        print("client.py: interrupted", file=sys.stderr)
        return 130
    except (RequestError, AddressError, OSError) as error:
        print(f"client.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def interrupt(*_: object) -> None:
    """Raises KeyboardInterrupt, and ignores all later interrupts.

    The client then cancels its request, which takes a limited time and must not be cut off.
    """
    for signum in INTERRUPTS:
        signal.signal(signum, lambda *_: None)
    raise KeyboardInterrupt


def run_command() -> int:
    """Runs `main`, and handles both kinds of interrupt from the start."""
    try:
        for signum in INTERRUPTS:
            signal.signal(signum, interrupt)
        return main()
    except KeyboardInterrupt:
        print("client.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run_command())
