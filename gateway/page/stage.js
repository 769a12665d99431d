// @ts-check
/** Where the picture appears: the waiting, the drawing, the result, and what went wrong. */

import { byId, make } from "./dom.js";
import { told } from "./failure.js";
import { say } from "./notice.js";
import { actions, facts, titleOf } from "./picture.js";

/** @typedef {import("./store.js").Kept} Kept */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {"empty" | "busy" | "done" | "trouble"} State */

const TITLE = document.title;

export class Stage {
  /**
   * @param {(picture: Kept) => HTMLElement} thumbnail
   * @param {import("./picture.js").Acts} acts
   */
  constructor(thumbnail, acts) {
    this.thumbnail = thumbnail;
    this.acts = acts;
    this.element = byId("stage");
    this.tiles = byId("tiles");
    this.bar = /** @type {HTMLProgressElement} */ (byId("bar"));
    /** @type {HTMLImageElement[]} */
    this.previews = [];
    /** @type {Kept[]} */
    this.shown = [];
    /** @type {() => void} */
    this.again = () => {};
    byId("retry").addEventListener("click", () => this.again());
  }

  /**
   * @param {import("./job.js").Wish} wish
   * @param {Blob | null} source what it begins at, seen until there is a preview
   */
  begin({ n, size }, source) {
    const [width, height] = /^\d+x\d+$/.test(size) ? size.split("x").map(Number) : [1, 1];
    this.#lay(n, width / height);
    const load = (/** @type {Event} */ { target }) => {
      const { src, naturalWidth, naturalHeight } = /** @type {HTMLImageElement} */ (target);
      this.#lay(n, naturalWidth / naturalHeight);
      if (src.startsWith("blob:")) URL.revokeObjectURL(src);
    };
    this.previews = Array.from({ length: n }, () => {
      const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", load }));
      if (source) image.src = URL.createObjectURL(source);
      return image;
    });
    this.tiles.replaceChildren(...this.previews.map((image) => make("div", { class: "tile" }, image)));
    this.bar.removeAttribute("value");
    this.#turn("busy", "Sending …");
    say("Sent.");
    const { top } = this.element.getBoundingClientRect();
    if (top > innerHeight * 0.6) this.element.scrollIntoView({ block: "start" });
  }

  /** @param {Job} job */
  follow({ status, position, step, steps, preview }) {
    const previews = Array.isArray(preview) ? preview : preview ? [preview] : [];
    previews.forEach((data, i) => {
      const image = this.previews[i];
      if (image) image.src = `data:image/png;base64,${data}`;
    });
    if (status === "queued") {
      this.bar.removeAttribute("value");
      this.#state(position ? `Waiting, number ${position} in the queue` : "Waiting for its turn");
    } else if (steps && step) {
      this.bar.max = steps;
      this.bar.value = step;
      this.#state(step < steps ? `Step ${step} of ${steps}` : "Nearly there");
      document.title = `${step}/${steps} · ${TITLE}`;
    } else {
      this.#state("Drawing …");
    }
  }

  /**
   * @param {import("./failure.js").Failure} failure
   * @param {number} seconds until the next try
   */
  wait(failure, seconds) {
    const text = told(failure);
    say(`${text} Trying again.`);
    clearInterval(this.clock);
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      this.#state(left > 0 ? `${text} Trying again in ${left} s.` : `${text} Trying again now.`, true);
    };
    tick();
    this.clock = setInterval(tick, 250);
  }

  /** @param {Kept[]} pictures */
  show(pictures) {
    this.shown = pictures;
    if (pictures.length === 0) return this.#turn("empty");
    const [width, height] = pictures[0].parameters.size.split("x").map(Number);
    this.#lay(pictures.length, width / height || 1);
    this.tiles.replaceChildren(
      ...pictures.map((picture) => make("div", { class: "tile" }, this.thumbnail(picture))),
    );
    const [first] = pictures;
    const single = pictures.length === 1;
    const about = [make("p", { class: "prompt" }, titleOf(first))];
    if (single) about.push(facts(first), actions(first, this.acts));
    byId("result").replaceChildren(...about);
    return this.#turn("done");
  }

  /**
   * Shows what is left of what it showed, else the newest.
   * @param {Kept[]} gallery
   */
  prune(gallery) {
    const left = this.shown.filter(({ id }) => gallery.some((one) => one.id === id));
    const same = left.length > 0 && left.length === this.shown.length;
    this.shown = left.length > 0 ? left : gallery.slice(0, 1);
    if (!same && ["empty", "done"].includes(this.element.dataset.state ?? "")) this.show(this.shown);
  }

  /**
   * @param {unknown} error
   * @param {() => void} again
   */
  fail(error, again) {
    const text = told(error);
    const detail = error instanceof Error ? error.message : "";
    byId("trouble-text").textContent = text;
    byId("trouble-detail").textContent = text.toLowerCase().startsWith(detail.toLowerCase()) ? "" : detail;
    this.again = again;
    this.#turn("trouble");
    say(text);
  }

  /** Back to what was there before. */
  leave() {
    this.show(this.shown);
    say("Cancelled.");
  }

  /**
   * Rows and columns such that all tiles are seen at once.
   * @param {number} count
   * @param {number} ratio of one tile
   */
  #lay(count, ratio) {
    const columns = count <= 1 ? 1 : count <= 4 ? 2 : count <= 6 ? 3 : 4;
    const rows = Math.ceil(count / columns);
    const { style } = this.tiles;
    style.setProperty("--columns", String(columns));
    style.setProperty("--ratio", String(ratio));
    style.setProperty("--whole", String((ratio * columns) / rows));
  }

  /**
   * @param {State} state
   * @param {string} [text]
   */
  #turn(state, text = "") {
    this.element.dataset.state = state;
    byId("blank").hidden = state !== "empty";
    this.tiles.hidden = state === "empty" || state === "trouble";
    byId("progress").hidden = state !== "busy";
    byId("trouble").hidden = state !== "trouble";
    byId("result").hidden = state !== "done";
    document.title = TITLE;
    this.#state(text);
  }

  /**
   * @param {string} text
   * @param {boolean} [held] while something is waited for
   */
  #state(text, held = false) {
    if (!held) clearInterval(this.clock);
    byId("progress").classList.toggle("held", held);
    byId("state").textContent = text;
  }

  /** @type {ReturnType<typeof setInterval> | undefined} */
  clock;
}
