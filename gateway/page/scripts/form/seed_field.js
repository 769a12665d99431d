// @ts-check
/** The seed. An empty one is random each time; any other stays until it is unlocked. */

import { byId } from "../dom.js";

const SEED_LIMIT = 2 ** 31;

export class SeedField {
  constructor() {
    this.input = /** @type {HTMLInputElement} */ (byId("seed"));
    this.lock = byId("lock");
    /** @type {number | undefined} of the latest picture, for the lock */
    this.latest = undefined;
    this.input.addEventListener("input", () => this.#show());
    byId("dice").addEventListener("click", () => (this.value = randomSeed()));
    this.lock.addEventListener("click", () => {
      this.value = this.value === undefined ? (this.latest ?? randomSeed()) : undefined;
    });
  }

  /** @returns {number | undefined} */
  get value() {
    return this.input.value === "" ? undefined : this.input.valueAsNumber;
  }

  /** @param {number | undefined} seed */
  set value(seed) {
    this.input.value = seed === undefined ? "" : String(seed);
    this.#show();
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #show() {
    const locked = this.value !== undefined;
    this.lock.setAttribute("aria-pressed", String(locked));
    this.lock.querySelector("use")?.setAttribute("href", `images/icons.svg#${locked ? "locked" : "unlocked"}`);
  }
}

const randomSeed = () => Math.floor(Math.random() * SEED_LIMIT);
