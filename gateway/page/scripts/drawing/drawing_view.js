// @ts-check
/** The view of a drawing: its progress and previews, then its pictures or its error. */

import { byId, make } from "../dom.js";
import { messageFor } from "../gateway/errors.js";
import { announce } from "../notifications.js";
import { actionButtons, altText, parameterList } from "../pictures/picture.js";

/** @typedef {import("../pictures/picture_store.js").StoredPicture} StoredPicture */
/** @typedef {import("../gateway/jobs.js").Job} Job */
/** @typedef {"empty" | "busy" | "done" | "error"} State */

const TITLE = document.title;

export class DrawingView {
  /**
   * @param {(picture: StoredPicture) => HTMLElement} thumbnail
   * @param {import("../pictures/picture.js").PictureActions} actions
   */
  constructor(thumbnail, actions) {
    this.thumbnail = thumbnail;
    this.actions = actions;
    this.element = byId("drawing");
    this.tiles = byId("tiles");
    this.bar = /** @type {HTMLProgressElement} */ (byId("bar"));
    /** @type {HTMLImageElement[]} */
    this.previews = [];
    /** @type {StoredPicture[]} */
    this.shown = [];
    /** @type {() => void} */
    this.retry = () => {};
    byId("retry").addEventListener("click", () => this.retry());
  }

  /**
   * @param {import("../gateway/jobs.js").GenerationRequest} request
   * @param {Blob | null} source the source image, shown until there is a preview
   */
  showStart({ n, size }, source) {
    const [width, height] = /^\d+x\d+$/.test(size) ? size.split("x").map(Number) : [1, 1];
    this.#layOut(n, width / height);
    const load = (/** @type {Event} */ { target }) => {
      const { src, naturalWidth, naturalHeight } = /** @type {HTMLImageElement} */ (target);
      this.#layOut(n, naturalWidth / naturalHeight);
      if (src.startsWith("blob:")) URL.revokeObjectURL(src);
    };
    this.previews = Array.from({ length: n }, () => {
      const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", load }));
      if (source) image.src = URL.createObjectURL(source);
      return image;
    });
    this.tiles.replaceChildren(...this.previews.map((image) => make("div", { class: "tile" }, image)));
    this.bar.removeAttribute("value");
    this.#setState("busy", "Sending …");
    announce("Sent.");
    const { top } = this.element.getBoundingClientRect();
    if (top > innerHeight * 0.6) this.element.scrollIntoView({ block: "start" });
  }

  /** @param {Job} job */
  showProgress({ status, position, step, steps, preview }) {
    const previews = Array.isArray(preview) ? preview : preview ? [preview] : [];
    previews.forEach((data, i) => {
      const image = this.previews[i];
      if (image) image.src = `data:image/png;base64,${data}`;
    });
    if (status === "queued") {
      this.bar.removeAttribute("value");
      this.#setStatus(position ? `Waiting, number ${position} in the queue` : "Waiting for its turn");
    } else if (steps && step) {
      this.bar.max = steps;
      this.bar.value = step;
      this.#setStatus(step < steps ? `Step ${step} of ${steps}` : "Nearly there");
      document.title = `${step}/${steps} · ${TITLE}`;
    } else {
      this.#setStatus("Drawing …");
    }
  }

  /**
   * @param {import("../gateway/errors.js").GatewayError} error
   * @param {number} seconds until the next try
   */
  showRetry(error, seconds) {
    const text = messageFor(error);
    announce(`${text} Trying again.`);
    clearInterval(this.clock);
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      this.#setStatus(left > 0 ? `${text} Trying again in ${left} s.` : `${text} Trying again now.`, true);
    };
    tick();
    this.clock = setInterval(tick, 250);
  }

  /** @param {StoredPicture[]} pictures */
  showPictures(pictures) {
    this.shown = pictures;
    if (pictures.length === 0) return this.#setState("empty");
    const [width, height] = pictures[0].parameters.size.split("x").map(Number);
    this.#layOut(pictures.length, width / height || 1);
    this.tiles.replaceChildren(
      ...pictures.map((picture) => make("div", { class: "tile" }, this.thumbnail(picture))),
    );
    const [first] = pictures;
    const single = pictures.length === 1;
    const about = [make("p", { class: "prompt" }, altText(first))];
    if (single) about.push(parameterList(first), actionButtons(first, this.actions));
    byId("result").replaceChildren(...about);
    return this.#setState("done");
  }

  /**
   * Removes deleted pictures. When none is left, shows the newest of the gallery.
   * @param {StoredPicture[]} gallery
   */
  removeDeleted(gallery) {
    const left = this.shown.filter(({ id }) => gallery.some((one) => one.id === id));
    const same = left.length > 0 && left.length === this.shown.length;
    this.shown = left.length > 0 ? left : gallery.slice(0, 1);
    if (!same && ["empty", "done"].includes(this.element.dataset.state ?? "")) this.showPictures(this.shown);
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  showError(error, retry) {
    const text = messageFor(error);
    const detail = error instanceof Error ? error.message : "";
    byId("error-text").textContent = text;
    byId("error-detail").textContent = text.toLowerCase().startsWith(detail.toLowerCase()) ? "" : detail;
    this.retry = retry;
    this.#setState("error");
    announce(text);
  }

  /** Shows what was there before. */
  showCancelled() {
    this.showPictures(this.shown);
    announce("Cancelled.");
  }

  /**
   * Chooses rows and columns so that all tiles fit into the window.
   * @param {number} count
   * @param {number} ratio width / height of one tile
   */
  #layOut(count, ratio) {
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
  #setState(state, text = "") {
    this.element.dataset.state = state;
    byId("empty").hidden = state !== "empty";
    this.tiles.hidden = state === "empty" || state === "error";
    byId("progress").hidden = state !== "busy";
    byId("error").hidden = state !== "error";
    byId("result").hidden = state !== "done";
    document.title = TITLE;
    this.#setStatus(text);
  }

  /**
   * @param {string} text
   * @param {boolean} [held] whether it waits for another try
   */
  #setStatus(text, held = false) {
    if (!held) clearInterval(this.clock);
    byId("progress").classList.toggle("held", held);
    byId("status").textContent = text;
  }

  /** @type {ReturnType<typeof setInterval> | undefined} */
  clock;
}
