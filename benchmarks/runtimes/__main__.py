"""Measures every runtime in every precision on this machine, and writes docs/runtimes.md."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common.png import from_png
from benchmarks.common.random_sd15 import make_checkpoint
from benchmarks.measurement import results
from benchmarks.measurement.machine import environment_facts
from benchmarks.reports.report import QUICK as QUICK_NAME
from benchmarks.reports.report import publish
from benchmarks.runtimes import batch_sizes, markdown, pictures, replicas, stages
from benchmarks.runtimes.pictures import PictureResult
from benchmarks.runtimes.plan import QUICK, REFERENCE, Plan, Setup
from ray_stages.settings import ROOT, Settings
from ray_stages.stages.contact_sheet import contact_sheet
from training.evaluate import sample_prompts

DOCUMENT = ROOT / "docs" / "runtimes.md"
CONTACT_SHEET = ROOT / "docs" / "runtimes.png"
SHOWN_PICTURES = 8
SD15 = Plan(
    stages=("unet",),
    only=(REFERENCE, "openvino/bfloat16", "openvino/int8"),  # all at once in 23 GB
    rows=(2,),
    rounds=3,
    limit=1800.0,
)
SD15_SIZE = 256
Section = tuple[dict[str, Any], str]  # figures for the JSON file, text for the document


def miniature(setup: Setup) -> Section:
    """Measures the miniature in every respect."""
    plan = setup.plan
    prompts = [text for _, text in sample_prompts(plan.prompts)][: plan.compared]
    found = {}
    for stage in plan.stages:
        print(f"{stage} …", flush=True)
        found[stage] = stages.measure(setup, stage, prompts)
    print("pictures …", flush=True)
    drawn = [*pictures.by_unets(found["unet"]), *pictures.by_all_stages(setup)]
    print("replicas and batch sizes …", flush=True)
    rates, paddings = list(replicas.rates(setup)), batch_sizes.paddings(setup)
    figures = {
        "stages": [one.to_json() for measured in found.values() for one in measured],
        "pictures": [one.to_json() for one in drawn],
        "replicas": [asdict(one) for one in rates],
        "padding": [asdict(one) for one in paddings],
    }
    if plan is not QUICK:
        _write_contact_sheet(drawn)
    return figures, markdown.miniature(plan, found, drawn, rates, paddings)


def sd15(setup: Setup) -> Section:
    """Measures only a UNet with the shapes of Stable Diffusion 1.5."""
    found = stages.measure(setup, "unet", [])
    text = f"Its UNet at {setup.size}×{setup.size} pixels, int8 calibrated by one call."
    figures = {"size": setup.size, "stages": [one.to_json() for one in found]}
    return figures, f"{text}\n\n{markdown.stage(found, setup.plan.rows)}"


def _write_contact_sheet(drawn: list[PictureResult]) -> None:
    """Writes a row of pictures for each candidate that was judged."""
    files = [file for one in drawn if one.right for file in one.files[:SHOWN_PICTURES]]
    contact_sheet([from_png(file) for file in files], SHOWN_PICTURES).save(
        CONTACT_SHEET, optimize=True
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtimes", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="do most of it once; figures mean nothing")
    add("--compile", action="store_true", help="measure torch-compile's UNet too: many minutes")
    add("--sd15", action="store_true", help="measure a UNet with SD 1.5's shapes: 20 GB, minutes")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    settings = Settings.from_env().replace(device="cpu")
    with tempfile.TemporaryDirectory(prefix="runtimes-") as folder:
        if arguments.sd15:
            model = str(make_checkpoint(settings.cache_dir / "random-sd15", "cpu"))
            own = settings.replace(model=model)
            figures, text = sd15(Setup(SD15, own, Path(folder), SD15_SIZE, draws=False))
        else:
            plan = QUICK if arguments.quick else Plan(compiled=arguments.compile)
            figures, text = miniature(Setup(plan, settings, Path(folder)))
    print(text)
    name = "runtimes_sd15" if arguments.sd15 else "runtimes"
    if arguments.quick:
        path = results.RESULTS_FOLDER / f"{QUICK_NAME}-{name}.json"
        path.write_text(json.dumps({**environment_facts(), **figures}, indent=1) + "\n")
    else:
        publish(name, figures, text, DOCUMENT)


if __name__ == "__main__":
    main()
