// @ts-check
/** The size: one of those that suit the model, or a custom one. */

import { byId, make } from "../dom.js";

const CUSTOM = "custom";

export class SizeField {
  constructor() {
    this.choice = /** @type {HTMLSelectElement} */ (byId("size"));
    this.width = /** @type {HTMLInputElement} */ (byId("width"));
    this.height = /** @type {HTMLInputElement} */ (byId("height"));
    this.choice.addEventListener("change", () => this.#show());
    this.setModel({ width: 128, height: 128 });
  }

  /** @param {{width: number, height: number}} model its own size in pixels */
  setModel(model) {
    const chosen = this.choice.value;
    this.modelSize = `${model.width}x${model.height}`;
    const offered = {
      auto: `Auto, ${model.width} × ${model.height}`,
      ...sizeOption("Portrait", model.width * 0.75, model.height),
      ...sizeOption("Landscape", model.width, model.height * 0.75),
      ...sizeOption("Larger", model.width * 1.5, model.height * 1.5),
      ...sizeOption("Largest", model.width * 2, model.height * 2),
      [CUSTOM]: "Another …",
    };
    const options = Object.entries(offered).map(([value, text]) => make("option", { value }, text));
    this.choice.replaceChildren(...options);
    for (const side of /** @type {const} */ (["width", "height"])) {
      this[side].max = String(model[side] * 2);
      this[side].placeholder = String(model[side]);
    }
    if (chosen === CUSTOM) this.choice.value = CUSTOM; // its numbers may still be empty
    else if (chosen) this.value = chosen;
  }

  get value() {
    if (this.choice.value !== CUSTOM) return this.choice.value;
    const { width, height } = this;
    return `${width.value || width.placeholder}x${height.value || height.placeholder}`;
  }

  set value(size) {
    this.choice.value = size === this.modelSize ? "auto" : size;
    if (!this.choice.value) {
      this.choice.value = CUSTOM;
      [this.width.value, this.height.value] = size.split("x");
    }
    this.#show();
  }

  #show() {
    const custom = this.choice.value === CUSTOM;
    byId("custom-size").hidden = !custom;
    this.width.disabled = this.height.disabled = !custom; // disabled fields are not validated
  }
}

/**
 * @param {string} name
 * @param {number} width
 * @param {number} height
 */
function sizeOption(name, width, height) {
  const [w, h] = [width, height].map((side) => Math.round(side / 8) * 8);
  return { [`${w}x${h}`]: `${name} (${w} × ${h})` };
}
