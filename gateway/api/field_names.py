"""The names of request fields: those of other libraries, and the nearest to an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from gateway.errors import ApiError

# Of diffusers, AUTOMATIC1111, ComfyUI, InvokeAI and hosted APIs.
SYNONYMS = {
    "num_inference_steps": "steps",
    "inference_steps": "steps",
    "sampling_steps": "steps",
    "num_steps": "steps",
    "guidance": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "cfg": "guidance_scale",
    "sampler_name": "scheduler",
    "sampler": "scheduler",
    "sampler_index": "scheduler",
    "negative": "negative_prompt",
    "num_images_per_prompt": "n",
    "num_images": "n",
    "num_outputs": "n",
    "denoising_strength": "strength",
    "prompt_strength": "strength",
    "init_image": "image",
}
# OpenAI's fields that say how its own models work. A request may have them, without effect.
OPENAI_ONLY = frozenset(
    {
        *("background", "complexity", "input_fidelity", "moderation", "quality"),
        *("safety_identifier", "style", "user"),
    }
)
IMAGE_FIELDS = frozenset({"image", "image[]", "mask", "strength"})


def rename_fields(
    given: Mapping[str, Any], known: Collection[str], ignored: Collection[str] = ()
) -> dict[str, Any]:
    """The fields that are set, by their own names. A field that is null counts as left out.

    Raises ApiError with status 400 for an unknown field, and for one given by two names with
    different values.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        own = name if name in known else SYNONYMS.get(name, name)
        if own not in known and own not in ignored:
            raise ApiError(400, f"{name}: {_hint(name, known)}", param=name)
        if value is None or own in ignored:
            continue
        if own in fields and fields[own] != value:
            raise ApiError(400, f"{own}: given twice, also as another name", param=own)
        fields[own] = value
    return fields


def _hint(name: str, known: Collection[str]) -> str:
    if name in IMAGE_FIELDS or SYNONYMS.get(name) in IMAGE_FIELDS:
        return "/v1/images/edits and /v1/jobs take it, together with a picture"
    names = [*known, *(synonym for synonym, own in SYNONYMS.items() if own in known)]
    if near := difflib.get_close_matches(name.lower(), names, n=1):
        return f"unknown field; did you mean {SYNONYMS.get(near[0], near[0])}?"
    return f"unknown field; there are {', '.join(sorted(known))}"
