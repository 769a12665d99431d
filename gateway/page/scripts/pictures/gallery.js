// @ts-check
/** The gallery of drawn pictures, and the viewer that shows one of them large. */

import { byId, make } from "../dom.js";
import { notify } from "../notifications.js";
import { actionButtons, altText, parameterList, revokeUrl, urlOf } from "./picture.js";
import * as store from "./picture_store.js";

/** @typedef {import("./picture_store.js").StoredPicture} StoredPicture */

export class Gallery {
  /** @param {import("./picture.js").PictureActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {StoredPicture[]} the newest first */
    this.pictures = [];
    /** @type {string | null} of the picture in the viewer */
    this.open = null;
    this.onChange = () => {};
    this.viewer = /** @type {HTMLDialogElement} */ (byId("viewer"));
    byId("clear").addEventListener("click", () => this.remove(...this.pictures));
    byId("viewer-close").addEventListener("click", () => this.viewer.close());
    byId("viewer-previous").addEventListener("click", () => this.#step(-1));
    byId("viewer-next").addEventListener("click", () => this.#step(1));
    this.viewer.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this.#step(-1);
      if (key === "ArrowRight") this.#step(1);
    });
    this.viewer.addEventListener("click", ({ target }) => {
      if (target === this.viewer) this.viewer.close(); // beside the picture
    });
    this.viewer.addEventListener("close", () => (this.open = null));
  }

  async load() {
    this.pictures = await store.all();
    this.#show();
  }

  /** @param {StoredPicture[]} pictures */
  async add(...pictures) {
    const ids = pictures.map(({ id }) => id);
    this.pictures = [...pictures, ...this.pictures.filter(({ id }) => !ids.includes(id))];
    this.pictures.sort((a, b) => b.at - a.at);
    this.#show();
    try {
      for (const picture of pictures) await store.put(picture);
    } catch {
      notify("This browser has no room left. Download what you want to keep.");
    }
  }

  /** @param {StoredPicture[]} pictures */
  async remove(...pictures) {
    this.viewer.close();
    this.pictures = this.pictures.filter((picture) => !pictures.includes(picture));
    this.#show();
    const text = pictures.length === 1 ? "The picture is deleted." : `${pictures.length} pictures are deleted.`;
    notify(text, { label: "Undo", run: () => this.add(...pictures) });
    for (const picture of pictures) {
      await store.remove(picture.id);
      revokeUrl(picture);
    }
  }

  /** @param {StoredPicture} picture */
  view(picture) {
    this.open = picture.id;
    const image = /** @type {HTMLImageElement} */ (byId("viewer-picture"));
    image.src = urlOf(picture);
    image.alt = altText(picture);
    const closing = Object.entries(this.actions).map(([name, act]) => [
      name,
      (/** @type {StoredPicture} */ shown) => (this.viewer.close(), act(shown)),
    ]);
    byId("viewer-about").replaceChildren(
      make("p", { class: "prompt" }, altText(picture)),
      parameterList(picture),
      actionButtons(picture, Object.fromEntries(closing)),
    );
    if (!this.viewer.open) this.viewer.showModal();
  }

  /** @param {number} by */
  #step(by) {
    const at = this.pictures.findIndex(({ id }) => id === this.open);
    const other = this.pictures[(at + by + this.pictures.length) % this.pictures.length];
    if (other) this.view(other);
  }

  #show() {
    byId("gallery").hidden = this.pictures.length === 0;
    byId("thumbnails").replaceChildren(...this.pictures.map((picture) => make("li", {}, this.thumbnail(picture))));
    this.onChange();
  }

  /** @param {StoredPicture} picture */
  thumbnail(picture) {
    const image = make("img", { src: urlOf(picture), alt: altText(picture), loading: "lazy" });
    const view = () => this.view(picture);
    return make("button", { type: "button", class: "thumbnail", title: altText(picture), click: view }, image);
  }
}
