// @ts-check
/** The pictures of this browser, and one of them large. */

import { byId, make } from "./dom.js";
import { notify } from "./notice.js";
import { actions, facts, release, titleOf, urlOf } from "./picture.js";
import * as store from "./store.js";

/** @typedef {import("./store.js").Kept} Kept */

export class Gallery {
  /** @param {import("./picture.js").Acts} acts */
  constructor(acts) {
    this.acts = acts;
    /** @type {Kept[]} the newest first */
    this.pictures = [];
    /** @type {string | null} what the viewer shows */
    this.open = null;
    this.onChange = () => {};
    this.viewer = /** @type {HTMLDialogElement} */ (byId("viewer"));
    byId("clear").addEventListener("click", () => this.remove(...this.pictures));
    byId("viewer-close").addEventListener("click", () => this.viewer.close());
    byId("viewer-previous").addEventListener("click", () => this.#turn(-1));
    byId("viewer-next").addEventListener("click", () => this.#turn(1));
    this.viewer.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this.#turn(-1);
      if (key === "ArrowRight") this.#turn(1);
    });
    this.viewer.addEventListener("click", ({ target }) => {
      if (target === this.viewer) this.viewer.close(); // beside it
    });
    this.viewer.addEventListener("close", () => (this.open = null));
  }

  async load() {
    this.pictures = await store.all();
    this.#show();
  }

  /** @param {Kept[]} pictures */
  async add(...pictures) {
    const ids = pictures.map(({ id }) => id);
    this.pictures = [...pictures, ...this.pictures.filter(({ id }) => !ids.includes(id))];
    this.pictures.sort((a, b) => b.at - a.at);
    this.#show();
    try {
      for (const picture of pictures) await store.keep(picture);
    } catch {
      notify("This browser has no room left. Download what you want to keep.");
    }
  }

  /** @param {Kept[]} pictures */
  async remove(...pictures) {
    this.viewer.close();
    this.pictures = this.pictures.filter((picture) => !pictures.includes(picture));
    this.#show();
    const text = pictures.length === 1 ? "The picture is deleted." : `${pictures.length} pictures are deleted.`;
    notify(text, { label: "Undo", run: () => this.add(...pictures) });
    for (const picture of pictures) {
      await store.forget(picture.id);
      release(picture);
    }
  }

  /** @param {Kept} picture */
  view(picture) {
    this.open = picture.id;
    const image = /** @type {HTMLImageElement} */ (byId("viewer-picture"));
    image.src = urlOf(picture);
    image.alt = titleOf(picture);
    const leaving = Object.entries(this.acts).map(([name, act]) => [
      name,
      (/** @type {Kept} */ kept) => (this.viewer.close(), act(kept)),
    ]);
    byId("viewer-about").replaceChildren(
      make("p", { class: "prompt" }, titleOf(picture)),
      facts(picture),
      actions(picture, Object.fromEntries(leaving)),
    );
    if (!this.viewer.open) this.viewer.showModal();
  }

  /** @param {number} by */
  #turn(by) {
    const at = this.pictures.findIndex(({ id }) => id === this.open);
    const other = this.pictures[(at + by + this.pictures.length) % this.pictures.length];
    if (other) this.view(other);
  }

  #show() {
    byId("gallery").hidden = this.pictures.length === 0;
    byId("thumbnails").replaceChildren(...this.pictures.map((picture) => make("li", {}, this.thumbnail(picture))));
    this.onChange();
  }

  /** @param {Kept} picture */
  thumbnail(picture) {
    const image = make("img", { src: urlOf(picture), alt: titleOf(picture), loading: "lazy" });
    const view = () => this.view(picture);
    return make("button", { type: "button", class: "thumbnail", title: titleOf(picture), click: view }, image);
  }
}
