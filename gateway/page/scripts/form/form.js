// @ts-check
/** The form of a generation request. */

import { SliderField } from "./slider_field.js";
import { byId, make } from "../dom.js";
import { SCHEDULERS } from "../pictures/parameters.js";
import { SeedField } from "./seed_field.js";
import { SizeField } from "./size_field.js";
import { SourceImage } from "./source_image.js";

/** @typedef {import("../gateway/jobs.js").GenerationRequest} GenerationRequest */

const DRAFT = "draft";
const DEFAULT_STRENGTH = 0.6;

export class Form {
  constructor() {
    this.element = /** @type {HTMLFormElement} */ (byId("generation-form"));
    this.prompt = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
    this.negative = /** @type {HTMLTextAreaElement} */ (byId("negative"));
    this.scheduler = /** @type {HTMLSelectElement} */ (byId("scheduler"));
    for (const [value, label] of Object.entries({ "": "Automatic", ...SCHEDULERS })) {
      this.scheduler.append(make("option", { value }, label));
    }
    this.steps = new SliderField("steps");
    this.guidance = new SliderField("guidance");
    this.n = new SliderField("n");
    this.strength = new SliderField("strength");
    this.seed = new SeedField();
    this.size = new SizeField();
    this.source = new SourceImage();
    this.source.show(null);

    const settings = /** @type {HTMLDetailsElement} */ (byId("settings"));
    settings.open = matchMedia("(min-width: 56rem)").matches;
    // A browser cannot show an invalid field inside of closed settings.
    this.element.addEventListener("invalid", () => (settings.open = true), true);
    this.element.addEventListener("input", () => this.#saveDraft());
    this.element.addEventListener("change", () => this.#saveDraft());
    byId("reset").addEventListener("click", () => this.reset());
    this.write(JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}"));
  }

  /** @param {import("../gateway/model.js").Model} model */
  setModel(model) {
    this.size.setModel(model);
    if (model.steps) this.steps.setDefault(model.steps);
    if (model.guidance_scale !== undefined) this.guidance.setDefault(model.guidance_scale);
    const label = SCHEDULERS[/** @type {keyof typeof SCHEDULERS} */ (model.scheduler)];
    this.scheduler.options[0].text = label ? `Auto, ${label}` : "Automatic";
  }

  /** @returns {GenerationRequest} without the fields that are left to the model */
  read() {
    const request = {
      prompt: this.prompt.value.trim(),
      negative_prompt: this.negative.value.trim() || undefined,
      n: this.n.value ?? 1,
      size: this.size.value,
      seed: this.seed.value,
      steps: this.steps.value,
      guidance_scale: this.guidance.value,
      scheduler: this.scheduler.value || undefined,
      strength: this.source.file ? this.strength.value : undefined,
    };
    return JSON.parse(JSON.stringify(request)); // leaves out undefined fields
  }

  /**
   * A field that is left out gets the model's default. The source image stays.
   * @param {Partial<GenerationRequest>} request
   */
  write(request) {
    this.prompt.value = request.prompt ?? "";
    this.negative.value = request.negative_prompt ?? "";
    this.n.value = request.n ?? 1;
    this.size.value = request.size ?? "auto";
    this.steps.value = request.steps;
    this.guidance.value = request.guidance_scale;
    this.scheduler.value = request.scheduler ?? "";
    this.strength.value = request.strength ?? DEFAULT_STRENGTH;
    this.seed.value = request.seed;
  }

  reset() {
    this.source.show(null);
    this.write({ prompt: this.prompt.value });
  }

  #saveDraft() {
    sessionStorage.setItem(DRAFT, JSON.stringify(this.read()));
  }
}
