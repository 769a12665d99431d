"""Measures every runtime in every precision on this machine, and writes docs/runtimes.md."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import random_sd15
from benchmarks.measurement import results
from benchmarks.measurement.machine import surroundings
from benchmarks.png import from_png
from benchmarks.reports.report import QUICK as QUICK_NAME
from benchmarks.reports.report import publish
from benchmarks.runtimes import markdown, pictures, sharing, stages
from benchmarks.runtimes.pictures import Drawn
from benchmarks.runtimes.plan import QUICK, REFERENCE, Bench, Plan
from ray_stages.settings import ROOT, Settings
from ray_stages.stages.contact_sheet import contact_sheet
from training.evaluate import sample_prompts

DOCUMENT = ROOT / "docs" / "runtimes.md"
STRIP = ROOT / "docs" / "runtimes.png"
SHOWN = 8
SD15 = Plan(
    stages=("unet",),
    only=(REFERENCE, "openvino/bfloat16", "openvino/int8"),  # all at once in 23 GB
    rows=(2,),
    rounds=3,
    limit=1800.0,
)
SD15_SIZE = 256
Section = tuple[dict[str, Any], str]


def miniature(bench: Bench) -> Section:
    """Its figures, and its text."""
    plan = bench.plan
    prompts = [text for _, text in sample_prompts(plan.prompts)][: plan.compared]
    found = {}
    for stage in plan.stages:
        print(f"{stage} …", flush=True)
        found[stage] = stages.measure(bench, stage, prompts)
    print("pictures …", flush=True)
    drawn = [*pictures.by_unets(found["unet"]), *pictures.by_all_stages(bench)]
    print("replicas and batch sizes …", flush=True)
    rates, paddings = list(sharing.rates(bench)), sharing.paddings(bench)
    figures = {
        "stages": [one.to_json() for measured in found.values() for one in measured],
        "pictures": [one.to_json() for one in drawn],
        "replicas": [asdict(one) for one in rates],
        "padding": [asdict(one) for one in paddings],
    }
    if plan is not QUICK:
        _strip(drawn)
    return figures, markdown.miniature(plan, found, drawn, rates, paddings)


def sd15(bench: Bench) -> Section:
    found = stages.measure(bench, "unet", [])
    text = f"Its UNet at {bench.size}×{bench.size} pixels, int8 calibrated by one call."
    figures = {"size": bench.size, "stages": [one.to_json() for one in found]}
    return figures, f"{text}\n\n{markdown.stage(found, bench.plan.rows)}"


def _strip(drawn: list[Drawn]) -> None:
    """A row for each that was judged."""
    files = [file for one in drawn if one.right for file in one.files[:SHOWN]]
    contact_sheet([from_png(file) for file in files], SHOWN).save(STRIP, optimize=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtimes", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="does most of it once; figures mean nothing")
    add("--compile", action="store_true", help="torch-compile's UNet too: many minutes")
    add("--sd15", action="store_true", help="a UNet in the shape of SD 1.5 instead: 20 GB, minutes")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    settings = replace(Settings.from_env(), device="cpu")
    with tempfile.TemporaryDirectory(prefix="runtimes-") as folder:
        if arguments.sd15:
            model = str(random_sd15.make(Path(settings.cache_dir) / "random-sd15", "cpu"))
            own = replace(settings, model=model)
            figures, text = sd15(Bench(SD15, own, Path(folder), SD15_SIZE, draws=False))
        else:
            plan = QUICK if arguments.quick else Plan(compiled=arguments.compile)
            figures, text = miniature(Bench(plan, settings, Path(folder)))
    print(text)
    name = "runtimes_sd15" if arguments.sd15 else "runtimes"
    if arguments.quick:
        path = results.FOLDER / f"{QUICK_NAME}-{name}.json"
        path.write_text(json.dumps({**surroundings(), **figures}, indent=1) + "\n")
    else:
        publish(name, figures, text, DOCUMENT)


if __name__ == "__main__":
    main()
