// @ts-check
/** The size: some that suit the model, or any in numbers. */

import { byId, make } from "./dom.js";

const CUSTOM = "custom";

export class Size {
  constructor() {
    this.choice = /** @type {HTMLSelectElement} */ (byId("size"));
    this.width = /** @type {HTMLInputElement} */ (byId("width"));
    this.height = /** @type {HTMLInputElement} */ (byId("height"));
    this.choice.addEventListener("change", () => this.#show());
    this.suit({ width: 128, height: 128 });
  }

  /** @param {{width: number, height: number}} own the model's */
  suit(own) {
    const chosen = this.choice.value;
    this.own = `${own.width}x${own.height}`;
    const offered = {
      auto: `Auto, ${own.width} × ${own.height}`,
      ...named("Portrait", own.width * 0.75, own.height),
      ...named("Landscape", own.width, own.height * 0.75),
      ...named("Larger", own.width * 1.5, own.height * 1.5),
      ...named("Largest", own.width * 2, own.height * 2),
      [CUSTOM]: "Another …",
    };
    const options = Object.entries(offered).map(([value, text]) => make("option", { value }, text));
    this.choice.replaceChildren(...options);
    for (const side of /** @type {const} */ (["width", "height"])) {
      this[side].max = String(own[side] * 2);
      this[side].placeholder = String(own[side]);
    }
    if (chosen === CUSTOM) this.choice.value = CUSTOM; // perhaps without numbers yet
    else if (chosen) this.value = chosen;
  }

  get value() {
    if (this.choice.value !== CUSTOM) return this.choice.value;
    const { width, height } = this;
    return `${width.value || width.placeholder}x${height.value || height.placeholder}`;
  }

  set value(size) {
    this.choice.value = size === this.own ? "auto" : size;
    if (!this.choice.value) {
      this.choice.value = CUSTOM;
      [this.width.value, this.height.value] = size.split("x");
    }
    this.#show();
  }

  #show() {
    const custom = this.choice.value === CUSTOM;
    byId("measures").hidden = !custom;
    this.width.disabled = this.height.disabled = !custom; // what is hidden is not checked either
  }
}

/**
 * @param {string} name
 * @param {number} width
 * @param {number} height
 */
function named(name, width, height) {
  const [w, h] = [width, height].map((side) => Math.round(side / 8) * 8);
  return { [`${w}x${h}`]: `${name} (${w} × ${h})` };
}
