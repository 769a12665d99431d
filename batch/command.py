"""Draws the prompts in files: `run` follows a pipeline file, `render` takes options instead.

The same command again continues a run that was killed, and draws nothing twice.
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

from batch.configuration.options import PARAMETERS, DrawOptions
from batch.configuration.pipeline import Pipeline, load_pipeline, parse_pipeline
from ray_stages.errors import RelayError
from ray_stages.launcher.ray_environment import without_proxy_on_loopback

RENDER_HELP = {
    "seed": "each picture's seed is made of this one and its key: 0",
    "steps": "number of denoising steps",
    "guidance_scale": "how closely a picture follows its prompt",
    "width": "in pixels",
    "height": "in pixels",
    "scheduler": "the sampler: ddim, euler, dpmpp_2m, …",
    "negative_prompt": "what the pictures should not show",
}


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses `given`, by default this process's arguments; exits with 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_run(commands.add_parser("run", help="draw as a pipeline file says", allow_abbrev=False))
    render = commands.add_parser(
        "render", help="draw the prompts in one column", allow_abbrev=False
    )
    add_render(render)
    for command in commands.choices.values():
        add = command.add_argument
        add("--limit", type=int, metavar="N", help="draw only the first N rows")
        add("--dry-run", action="store_true", help="only show the plan and the first prompts")
    return parser.parse_args(given)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", type=Path, help="a TOML file")
    parser.add_argument("--out", metavar="DIR", help="replaces the file's output.path")


def add_render(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", nargs="+", help="CSV, Parquet, JSONL or text files: paths or URLs")
    add("--out", required=True, metavar="DIR", help="a folder or URL for the pictures")
    add("--column", default="text", help="holds the prompts; a text file has one, `text`")
    add("--key", nargs="+", default=[], metavar="COLUMN", help="columns whose values name a row")
    add("--pictures", default="both", help="parquet, png or both: both")
    add("--model", default="", help="a checkpoint's folder or Hugging Face id")
    add("--enhance", action="store_true", help="let a language model write the prompts out first")
    for name, text in RENDER_HELP.items():
        kind = type(getattr(DrawOptions(), name))
        add(f"--{name.replace('_', '-')}", type=kind, help=text)
    add(
        "--columns",
        nargs="+",
        default=[],
        choices=PARAMETERS,
        help="parameters that each row sets itself",
    )


def pipeline_from(arguments: argparse.Namespace) -> Pipeline:
    if arguments.command == "run":
        pipeline = load_pipeline(arguments.pipeline)
        if arguments.out:
            pipeline = replace(pipeline, output=replace(pipeline.output, path=arguments.out))
    else:
        pipeline = parse_pipeline(_render_options(arguments))
    if arguments.limit is not None:
        pipeline = pipeline.with_limit(arguments.limit)
    return pipeline


def _render_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what a pipeline file with the same content would hold."""
    draw = {name: getattr(arguments, name) for name in RENDER_HELP}
    given = {name: value for name, value in draw.items() if value is not None}
    pipeline: dict[str, Any] = {
        "input": {"path": arguments.path, "key": arguments.key},
        "prompt": "{" + arguments.column + "}",
        "draw": {**given, "model": arguments.model, "columns": arguments.columns},
        "output": {"path": arguments.out, "pictures": arguments.pictures},
    }
    return {**pipeline, "enhance": {}} if arguments.enhance else pipeline


def main(given: Sequence[str] | None = None) -> None:
    """Runs the command; exits with 1 where the run fails, with 130 where it is interrupted."""
    arguments = parse_arguments(given)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    without_proxy_on_loopback()
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        from batch.run import run

        run(pipeline_from(arguments), console, dry_run=arguments.dry_run)
    except KeyboardInterrupt:
        console.print("batch: interrupted; the same command goes on from here")
        sys.exit(130)
    except (RelayError, ValueError, OSError) as error:
        console.print(f"batch: {error}", soft_wrap=True)
        sys.exit(1)
