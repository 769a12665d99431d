"""Draws the prompts of files: `run` what a pipeline file says, or `render` the simple case.

The same command again goes on where a run was killed, and draws nothing twice.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from batch.configuration.pipeline import PARAMETERS, Draw, Pipeline, load, parse
from ray_stages.errors import RelayError

RENDER_HELP = {
    "seed": "what the pictures' own seeds are made of: 0",
    "steps": "how often to denoise",
    "guidance_scale": "how closely to follow the prompt",
    "width": "in pixels",
    "height": "in pixels",
    "scheduler": "the sampler: ddim, euler, dpmpp_2m, …",
    "negative_prompt": "what to keep out of the pictures",
}


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_run(commands.add_parser("run", help="what a pipeline file says", allow_abbrev=False))
    render = commands.add_parser("render", help="prompts in a column", allow_abbrev=False)
    add_render(render)
    for command in commands.choices.values():
        add = command.add_argument
        add("--limit", type=int, metavar="N", help="the first N rows only")
        add("--dry-run", action="store_true", help="show the plan and the first prompts")
    return parser.parse_args(given)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", type=Path, help="a TOML file")
    parser.add_argument("--out", metavar="DIR", help="in place of the file's output.path")


def add_render(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", nargs="+", help="CSV, Parquet, JSONL or text files: paths or URLs")
    add("--out", required=True, metavar="DIR", help="a folder or URL for the pictures")
    add("--column", default="text", help="of the prompts; a text file's lines are `text`")
    add("--key", nargs="+", default=[], metavar="COLUMN", help="columns that name a row")
    add("--pictures", default="both", help="parquet, png or both: both")
    add("--model", default="", help="a checkpoint's folder or Hugging Face id")
    add("--enhance", action="store_true", help="have the prompts written out first")
    for name, text in RENDER_HELP.items():
        kind = type(getattr(Draw(), name))
        add(f"--{name.replace('_', '-')}", type=kind, help=text)
    add("--columns", nargs="+", default=[], choices=PARAMETERS, help="those that rows set")


def pipeline_of(arguments: argparse.Namespace) -> Pipeline:
    if arguments.command == "run":
        pipeline = load(arguments.pipeline)
        if arguments.out:
            pipeline = replace(pipeline, output=replace(pipeline.output, path=arguments.out))
    else:
        pipeline = parse(_rendering(arguments))
    if arguments.limit is not None:
        pipeline = pipeline.limited(arguments.limit)
    return pipeline


def _rendering(arguments: argparse.Namespace) -> dict[str, Any]:
    draw = {name: getattr(arguments, name) for name in RENDER_HELP}
    said = {name: value for name, value in draw.items() if value is not None}
    pipeline: dict[str, Any] = {
        "input": {"path": arguments.path, "key": arguments.key},
        "prompt": "{" + arguments.column + "}",
        "draw": {**said, "model": arguments.model, "columns": arguments.columns},
        "output": {"path": arguments.out, "pictures": arguments.pictures},
    }
    return {**pipeline, "enhance": {}} if arguments.enhance else pipeline


def main(given: Sequence[str] | None = None) -> None:
    arguments = arguments_of(given)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        from batch.run import run

        run(pipeline_of(arguments), console, dry=arguments.dry_run)
    except KeyboardInterrupt:
        console.print("batch: interrupted; the same command goes on from here")
        sys.exit(130)
    except (RelayError, ValueError, OSError) as error:
        console.print(f"batch: {error}", soft_wrap=True)
        sys.exit(1)
