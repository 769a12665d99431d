"""The schedulers that a request may name: classes of diffusers, one instance for each picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ray_stages.errors import InvalidRequest


@dataclass(frozen=True)
class SchedulerChoice:
    """A scheduler that a request may name.

    class_name: of diffusers; label: the common name of the sampler; overrides: values that replace
    those of the checkpoint's scheduler config.
    """

    class_name: str
    label: str
    overrides: dict[str, Any] = field(default_factory=dict)


# Labels are those that AUTOMATIC1111 writes into PNGs, so that other tools read ours.
SCHEDULERS: dict[str, SchedulerChoice] = {
    "ddim": SchedulerChoice("DDIMScheduler", "DDIM"),
    "ddpm": SchedulerChoice("DDPMScheduler", "DDPM"),
    "pndm": SchedulerChoice("PNDMScheduler", "PLMS", {"skip_prk_steps": True}),
    "euler": SchedulerChoice("EulerDiscreteScheduler", "Euler"),
    "euler_ancestral": SchedulerChoice("EulerAncestralDiscreteScheduler", "Euler a"),
    "heun": SchedulerChoice("HeunDiscreteScheduler", "Heun"),
    "dpmpp_2m": SchedulerChoice("DPMSolverMultistepScheduler", "DPM++ 2M"),
    "dpmpp_2m_karras": SchedulerChoice(
        "DPMSolverMultistepScheduler", "DPM++ 2M Karras", {"use_karras_sigmas": True}
    ),
    "unipc": SchedulerChoice("UniPCMultistepScheduler", "UniPC"),
    "deis": SchedulerChoice("DEISMultistepScheduler", "DEIS"),
    "lcm": SchedulerChoice("LCMScheduler", "LCM"),
}


# Options that mean something else, or have another right default, in each class.
CLASS_SPECIFIC_OPTIONS = {"algorithm_type", "solver_type", "lower_order_final"}
SIGMA_OPTIONS = {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"}
# diffusers' StableDiffusionPipeline sets these in every scheduler.
PIPELINE_CONFIG = {"clip_sample": False, "steps_offset": 1}


def name_of(class_name: str) -> str:
    """Returns the name in SCHEDULERS of a diffusers class, else the name of the class."""
    for name, choice in SCHEDULERS.items():
        if choice.class_name == class_name:
            return name
    return class_name


def label_of(name: str) -> str:
    """Returns the common name of a sampler, which goes into PNG files."""
    return SCHEDULERS[name].label if name in SCHEDULERS else name


def create(name: str, config: dict[str, Any]) -> Any:
    """Creates a scheduler. `step` keeps state, so pictures must not share one (diffusers #3672).

    config: of the checkpoint's own scheduler. Raises InvalidRequest if the scheduler does not
    support it.
    """
    import diffusers

    own_class = config["_class_name"]
    choice = SCHEDULERS.get(name) or SchedulerChoice(own_class, name)
    config = {**config, **PIPELINE_CONFIG}
    if choice.class_name != own_class:
        config = {key: value for key, value in config.items() if key not in CLASS_SPECIFIC_OPTIONS}
    if SIGMA_OPTIONS & choice.overrides.keys():
        config |= dict.fromkeys(SIGMA_OPTIONS, False)
    # Only a UNet with twice the output channels predicts a variance, and we serve none.
    if str(config.get("variance_type")).startswith("learned"):
        config["variance_type"] = "fixed_small"
    try:
        return getattr(diffusers, choice.class_name).from_config(config, **choice.overrides)
    except (NotImplementedError, ValueError) as error:
        limit = f"one that the checkpoint's own scheduler configuration fits ({error})"
        raise InvalidRequest("scheduler", name, limit) from error
