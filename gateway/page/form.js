// @ts-check
/** What the visitor asks for. */

import { Dial } from "./dial.js";
import { byId, make } from "./dom.js";
import { SCHEDULERS } from "./parameters.js";
import { Seed } from "./seed.js";
import { Size } from "./size.js";
import { Source } from "./source.js";

/** @typedef {import("./job.js").Wish} Wish */

const DRAFT = "draft";
const STRENGTH = 0.6;

export class Form {
  constructor() {
    this.element = /** @type {HTMLFormElement} */ (byId("wish"));
    this.prompt = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
    this.negative = /** @type {HTMLTextAreaElement} */ (byId("negative"));
    this.scheduler = /** @type {HTMLSelectElement} */ (byId("scheduler"));
    for (const [value, label] of Object.entries({ "": "Automatic", ...SCHEDULERS })) {
      this.scheduler.append(make("option", { value }, label));
    }
    this.steps = new Dial("steps");
    this.guidance = new Dial("guidance");
    this.n = new Dial("n");
    this.strength = new Dial("strength");
    this.seed = new Seed();
    this.size = new Size();
    this.source = new Source();
    this.source.show(null);

    const settings = /** @type {HTMLDetailsElement} */ (byId("settings"));
    settings.open = matchMedia("(min-width: 56rem)").matches;
    // A browser cannot point at what is wrong inside of closed settings.
    this.element.addEventListener("invalid", () => (settings.open = true), true);
    this.element.addEventListener("input", () => this.#keep());
    this.element.addEventListener("change", () => this.#keep());
    byId("reset").addEventListener("click", () => this.reset());
    this.write(JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}"));
  }

  /** @param {import("./model.js").Model} model */
  suit(model) {
    this.size.suit(model);
    if (model.steps) this.steps.rest(model.steps);
    if (model.guidance_scale !== undefined) this.guidance.rest(model.guidance_scale);
    const own = SCHEDULERS[/** @type {keyof typeof SCHEDULERS} */ (model.scheduler)];
    this.scheduler.options[0].text = own ? `Auto, ${own}` : "Automatic";
  }

  /** @returns {Wish} without what is left to the model */
  read() {
    const wish = {
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
    return JSON.parse(JSON.stringify(wish)); // which leaves out the undefined
  }

  /**
   * What is left out becomes the model's own again; the picture to begin at stays.
   * @param {Partial<Wish>} wish
   */
  write(wish) {
    this.prompt.value = wish.prompt ?? "";
    this.negative.value = wish.negative_prompt ?? "";
    this.n.value = wish.n ?? 1;
    this.size.value = wish.size ?? "auto";
    this.steps.value = wish.steps;
    this.guidance.value = wish.guidance_scale;
    this.scheduler.value = wish.scheduler ?? "";
    this.strength.value = wish.strength ?? STRENGTH;
    this.seed.value = wish.seed;
  }

  reset() {
    this.source.show(null);
    this.write({ prompt: this.prompt.value });
  }

  #keep() {
    sessionStorage.setItem(DRAFT, JSON.stringify(this.read()));
  }
}
