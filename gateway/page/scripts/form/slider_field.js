// @ts-check
/** A number field with a slider. An empty number means the default, which the slider then shows. */

import { byId } from "../dom.js";

export class SliderField {
  /** @param {string} id of the number; the slider's id is that and `-slider` */
  constructor(id) {
    this.number = /** @type {HTMLInputElement} */ (byId(id));
    this.slider = /** @type {HTMLInputElement} */ (byId(`${id}-slider`));
    this.default = this.number.value;
    this.number.addEventListener("input", () => this.#moveSlider());
    this.slider.addEventListener("input", () => {
      this.number.value = this.slider.value;
      this.#moveSlider();
    });
    this.#moveSlider();
  }

  /** @param {number | string} value that an empty number means */
  setDefault(value) {
    this.default = String(value);
    this.number.placeholder = this.default;
    this.#moveSlider();
  }

  /** @returns {number | undefined} */
  get value() {
    return this.number.value === "" ? undefined : this.number.valueAsNumber;
  }

  /** @param {number | undefined} value */
  set value(value) {
    this.number.value = value === undefined ? "" : String(value);
    this.#moveSlider();
  }

  #moveSlider() {
    const { number, slider } = this;
    slider.value = number.value || this.default;
    slider.classList.toggle("default", number.value === "");
    const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
    slider.style.setProperty("--share", `${share * 100}%`);
  }
}
