// @ts-check
/** A number and its slider. An empty number is the model's own, where the slider then rests. */

import { byId } from "./dom.js";

export class Dial {
  /** @param {string} id of the number; its slider's has `-slider` at the end */
  constructor(id) {
    this.number = /** @type {HTMLInputElement} */ (byId(id));
    this.slider = /** @type {HTMLInputElement} */ (byId(`${id}-slider`));
    this.own = this.number.value;
    this.number.addEventListener("input", () => this.#follow());
    this.slider.addEventListener("input", () => {
      this.number.value = this.slider.value;
      this.#follow();
    });
    this.#follow();
  }

  /** @param {number | string} own what empty means */
  rest(own) {
    this.own = String(own);
    this.number.placeholder = this.own;
    this.#follow();
  }

  /** @returns {number | undefined} */
  get value() {
    return this.number.value === "" ? undefined : this.number.valueAsNumber;
  }

  /** @param {number | undefined} value */
  set value(value) {
    this.number.value = value === undefined ? "" : String(value);
    this.#follow();
  }

  #follow() {
    const { number, slider } = this;
    slider.value = number.value || this.own;
    slider.classList.toggle("own", number.value === "");
    const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
    slider.style.setProperty("--share", `${share * 100}%`);
  }
}
