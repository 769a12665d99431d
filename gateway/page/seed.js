// @ts-check
/** The seed: empty is a new one each time, any other is kept until it is unlocked. */

import { byId } from "./dom.js";

const SEEDS = 2 ** 31;

export class Seed {
  constructor() {
    this.input = /** @type {HTMLInputElement} */ (byId("seed"));
    this.lock = byId("lock");
    /** @type {number | undefined} that of the latest picture, which the lock brings back */
    this.latest = undefined;
    this.input.addEventListener("input", () => this.#show());
    byId("dice").addEventListener("click", () => (this.value = roll()));
    this.lock.addEventListener("click", () => {
      this.value = this.value === undefined ? (this.latest ?? roll()) : undefined;
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
    const kept = this.value !== undefined;
    this.lock.setAttribute("aria-pressed", String(kept));
    this.lock.querySelector("use")?.setAttribute("href", `icons.svg#${kept ? "locked" : "unlocked"}`);
  }
}

const roll = () => Math.floor(Math.random() * SEEDS);
