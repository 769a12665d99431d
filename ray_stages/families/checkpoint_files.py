"""Reads what the files of a checkpoint say, before any process starts or any weight is loaded.

It imports neither torch nor diffusers, because the launcher asks it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
# The classes that each part with weights may have, and the stem of its weights' file.
CLASSES = {"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
STEMS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
LIBRARIES = ("diffusers", "transformers")
FETCH_SECONDS = 5.0
CONVERT = "load it with diffusers and call save_pretrained(folder, safe_serialization=True)"


class UnfitCheckpoint(ValueError):
    """The message says what was found in MODEL, what is expected, and what helps."""

    def __init__(self, model: str, faults: list[str]) -> None:
        super().__init__(f"MODEL={model} cannot be served: {'; '.join(faults)}")


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint's folder; variant: of its weights, as in `model.fp16.safetensors`, or ""."""

    folder: Path
    variant: str = ""

    def weights(self, part: str) -> tuple[str, list[Path]]:
        """Returns the variant in which a part is there, and its files; none where it is not.

        A part without the variant asked for has its plain files taken, as diffusers does. Where
        only one variant is there, it is taken.
        """
        there = [self.variant, "", *sorted(self._variants(part))]
        for variant in dict.fromkeys(there):
            if files := self._files(part, variant):
                return variant, files
        return "", []

    def notes(self) -> list[str]:
        """What the checkpoint asks for and is ignored: code of its own."""
        index = self._index()
        own = [
            name
            for name, value in index.items()
            if isinstance(value, list) and value[0] and value[0] not in LIBRARIES
        ]
        return [f"{name} in model_index.json names code of its own: ignored" for name in own]

    def faults(self) -> list[str]:
        """Why it cannot be served; empty where nothing in its files speaks against it."""
        try:
            return [*self._part_faults(self._index())] or [*self._config_faults()]
        except (OSError, ValueError) as error:
            return [f"a configuration cannot be read ({error})"]

    def _part_faults(self, index: dict[str, Any]) -> Iterator[str]:
        pipeline = index.get("_class_name")
        unknown = [name for name in index if name.startswith("text_encoder_")]
        classes = [(index.get(part) or ["", ""])[1] for part in CLASSES]
        strange = [name for name in classes if name and name not in CLASSES.values()]
        if unknown or strange:
            found = ", ".join([*unknown, *strange])
            yield (
                f"it is a {pipeline} with {found}; Stable Diffusion 1.x and 2.x are served, of "
                f"{', '.join(CLASSES.values())}"
            )
            return
        for part in PARTS:
            if not (self.folder / part).is_dir():
                yield f"the folder {part}/ is missing"
        for part in CLASSES:
            if (self.folder / part).is_dir():
                yield from self._weight_faults(part)

    def _weight_faults(self, part: str) -> Iterator[str]:
        _, files = self.weights(part)
        if not files:
            pickles = sorted(path.name for path in (self.folder / part).glob("*.bin"))
            found = f"only {pickles[0]}, a pickle; {CONVERT}" if pickles else "none"
            yield f"{part}/{STEMS[part]}.safetensors is expected, found {found}"
        for file in files:
            if fault := file_fault(file):
                yield f"{part}/{file.name} {fault}"

    def _config_faults(self) -> Iterator[str]:
        unet, vae = self._config("unet"), self._config("vae")
        text = self._config("text_encoder")
        channels, latents = unet.get("in_channels", 4), vae.get("latent_channels", 4)
        if channels != latents:
            kind = "an inpainting UNet" if channels == 9 else "another kind of UNet"
            yield (
                f"unet/config.json: in_channels is {channels}, which is {kind}; "
                f"{latents} is expected, the latent_channels of the VAE"
            )
        if not unet.get("sample_size"):
            yield (
                f"unet/config.json: sample_size is {unet.get('sample_size')}; the default size in "
                "latents is expected, such as 64 for pictures of 512 pixels"
            )
        width, wanted = text.get("hidden_size"), unet.get("cross_attention_dim")
        if width != wanted:
            yield (
                f"text_encoder/config.json: hidden_size is {width}; {wanted} is expected, the "
                "cross_attention_dim of the UNet"
            )

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads((self.folder / "model_index.json").read_text())
        return index

    def _config(self, part: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / part / "config.json").read_text())
        return config

    def _variants(self, part: str) -> set[str]:
        names = [path.name for path in (self.folder / part).glob(f"{STEMS[part]}.*.safetensors")]
        return {name.split(".")[1].split("-")[0] for name in names}

    def _files(self, part: str, variant: str) -> list[Path]:
        """One file, or the shards that an index names."""
        folder, dot = self.folder / part, f".{variant}" if variant else ""
        whole = folder / f"{STEMS[part]}{dot}.safetensors"
        if whole.is_file():
            return [whole]
        index = folder / f"{STEMS[part]}.safetensors.index{dot}.json"
        if not index.is_file():
            return []
        shards = set(json.loads(index.read_text())["weight_map"].values())
        return [folder / name for name in sorted(shards)]


def file_fault(path: Path) -> str | None:
    """What is wrong with a safetensors file as a whole: only its header is read."""
    if not path.is_file():
        return "is missing, though the index names it"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            return f"has {size:,} bytes and no whole header: it is no safetensors file, or cut off"
        try:
            header = json.loads(file.read(length))
            end = 8 + length + max(one["data_offsets"][1] for one in _tensors(header))
        except (ValueError, KeyError, TypeError, AttributeError):
            return "has a header that is no JSON: it is no safetensors file"
    return (
        None if size == end else f"has {size:,} bytes, its header tells of {end:,}: it is cut off"
    )


def _tensors(header: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for name, one in header.items() if name != "__metadata__"]


def examine(model: str, variant: str) -> list[str]:
    """Returns what of the checkpoint is ignored, a line each.

    model: a folder or a Hugging Face id, of which only `model_index.json` is fetched here. Raises
    UnfitCheckpoint where the files say that it cannot be served.
    """
    if not Path(model).is_dir():
        _look_up(model)
        return []
    files = CheckpointFiles(Path(model), variant)
    if faults := files.faults():
        raise UnfitCheckpoint(model, faults)
    return files.notes()


def _look_up(model: str) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        hf_hub_download(model, "model_index.json", etag_timeout=FETCH_SECONDS)
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UnfitCheckpoint(
            model,
            [
                f"no folder of that name is here, and the Hugging Face hub has no such checkpoint "
                f"or cannot be asked ({reason})"
            ],
        ) from error
