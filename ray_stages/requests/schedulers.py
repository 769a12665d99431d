"""The samplers a request may name: diffusers' own schedulers, made anew for each picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ray_stages.errors import InvalidRequest


@dataclass(frozen=True)
class SchedulerChoice:
    """A diffusers scheduler class, its common label, and what overrides the checkpoint's config."""

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


# Options whose meaning, or whose right default, is another in each class.
OF_ONE_CLASS = {"algorithm_type", "solver_type", "lower_order_final"}
SIGMAS = {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"}
# What diffusers' StableDiffusionPipeline sets in every scheduler it is given.
PIPELINES_OWN = {"clip_sample": False, "steps_offset": 1}


def name_of(class_name: str) -> str:
    """The name under which a checkpoint's own scheduler class is offered."""
    for name, choice in SCHEDULERS.items():
        if choice.class_name == class_name:
            return name
    return class_name


def label_of(name: str) -> str:
    return SCHEDULERS[name].label if name in SCHEDULERS else name


def create(name: str, config: dict[str, Any]) -> Any:
    """A fresh one: its `step` keeps state, so two pictures never share it (diffusers #3672).

    config: the checkpoint's own. Raises InvalidRequest where it does not fit the scheduler.
    """
    import diffusers

    own_class = config["_class_name"]
    choice = SCHEDULERS.get(name) or SchedulerChoice(own_class, name)
    config = {**config, **PIPELINES_OWN}
    if choice.class_name != own_class:
        config = {key: value for key, value in config.items() if key not in OF_ONE_CLASS}
    if SIGMAS & choice.overrides.keys():
        config |= dict.fromkeys(SIGMAS, False)
    # Only a UNet with twice the channels predicts a variance, and none that is served has them.
    if str(config.get("variance_type")).startswith("learned"):
        config["variance_type"] = "fixed_small"
    try:
        return getattr(diffusers, choice.class_name).from_config(config, **choice.overrides)
    except (NotImplementedError, ValueError) as error:
        limit = f"one that the checkpoint's own scheduler configuration fits ({error})"
        raise InvalidRequest("scheduler", name, limit) from error
