// @ts-check
/** The elements of a drawn picture: its image, parameters, download and actions. */

import { button, icon, make } from "../dom.js";
import { SCHEDULERS } from "./parameters.js";

/** @typedef {import("./picture_store.js").StoredPicture} StoredPicture */
/**
 * @typedef {object} PictureActions
 * @property {(picture: StoredPicture) => void} reuse puts its parameters into the form
 * @property {(picture: StoredPicture) => void} vary draws again with the picture as its source image
 * @property {(picture: StoredPicture) => void} nextSeed draws with the next seed
 * @property {(picture: StoredPicture) => void} remove
 */

/** @type {Map<string, string>} */
const urls = new Map();

/** @param {StoredPicture} picture */
export function urlOf({ id, blob }) {
  const url = urls.get(id) ?? URL.createObjectURL(blob);
  urls.set(id, url);
  return url;
}

/** @param {StoredPicture} picture that is no longer shown */
export function revokeUrl({ id }) {
  URL.revokeObjectURL(urls.get(id) ?? "");
  urls.delete(id);
}

/** @param {StoredPicture} picture */
export const altText = ({ parameters }) => parameters.prompt || "A picture without a prompt";

/**
 * A file name of the prompt's first words and the seed.
 * @param {StoredPicture} picture
 */
function fileName({ parameters: { prompt, seed } }) {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  const significant = words.filter((word) => !["a", "an", "the", "on", "in", "at", "of"].includes(word));
  return [...significant.slice(0, 6), seed].filter((part) => part !== undefined).join("-") + ".png";
}

/**
 * @param {StoredPicture} picture
 * @param {PictureActions} actions
 */
export function actionButtons(picture, actions) {
  return make(
    "div",
    { class: "actions", role: "group", "aria-label": "With this picture" },
    button("again", "Use again", () => actions.reuse(picture)),
    button("vary", "Vary", () => actions.vary(picture)),
    button("seed", "Next seed", () => actions.nextSeed(picture)),
    download(picture),
    button("trash", "Delete", () => actions.remove(picture)),
  );
}

/** @param {StoredPicture} picture */
function download(picture) {
  const attributes = { class: "quiet", href: urlOf(picture), download: fileName(picture) };
  return make("a", attributes, icon("download"), "Download");
}

/** @param {StoredPicture} picture */
export function parameterList({ parameters }) {
  const { negative_prompt, seed, steps, guidance_scale, scheduler, size, strength, model } = parameters;
  const label = SCHEDULERS[/** @type {keyof typeof SCHEDULERS} */ (scheduler)];
  const known = {
    "Negative prompt": negative_prompt,
    Seed: seed,
    Steps: steps,
    Guidance: guidance_scale,
    Scheduler: label,
    Size: size.replace("x", " × "),
    Strength: strength,
    Model: model,
  };
  const list = make("dl", { class: "facts" });
  for (const [name, value] of Object.entries(known)) {
    if (value === undefined || value === "") continue;
    list.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  }
  return list;
}
