// @ts-check
/** A picture that was drawn: how it is shown, named, and what can be done with it. */

import { button, icon, make } from "./dom.js";
import { SCHEDULERS } from "./parameters.js";

/** @typedef {import("./store.js").Kept} Kept */
/**
 * @typedef {object} Acts
 * @property {(picture: Kept) => void} useAgain
 * @property {(picture: Kept) => void} vary from the picture itself
 * @property {(picture: Kept) => void} neighbour of the next seed
 * @property {(picture: Kept) => void} remove
 */

/** @type {Map<string, string>} */
const urls = new Map();

/** @param {Kept} picture */
export function urlOf({ id, blob }) {
  const url = urls.get(id) ?? URL.createObjectURL(blob);
  urls.set(id, url);
  return url;
}

/** @param {Kept} picture that is not shown any more */
export function release({ id }) {
  URL.revokeObjectURL(urls.get(id) ?? "");
  urls.delete(id);
}

/** @param {Kept} picture */
export const titleOf = ({ parameters }) => parameters.prompt || "A picture without a prompt";

/**
 * A PNG as the server made it, with its parameters inside.
 * @param {Kept} picture
 */
function fileName({ parameters: { prompt, seed } }) {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  const telling = words.filter((word) => !["a", "an", "the", "on", "in", "at", "of"].includes(word));
  return [...telling.slice(0, 6), seed].filter((part) => part !== undefined).join("-") + ".png";
}

/**
 * @param {Kept} picture
 * @param {Acts} acts
 */
export function actions(picture, acts) {
  return make(
    "div",
    { class: "actions", role: "group", "aria-label": "With this picture" },
    button("again", "Use again", () => acts.useAgain(picture)),
    button("vary", "Vary", () => acts.vary(picture)),
    button("seed", "Next seed", () => acts.neighbour(picture)),
    download(picture),
    button("trash", "Delete", () => acts.remove(picture)),
  );
}

/** @param {Kept} picture */
function download(picture) {
  const attributes = { class: "quiet", href: urlOf(picture), download: fileName(picture) };
  return make("a", attributes, icon("download"), "Download");
}

/** @param {Kept} picture */
export function facts({ parameters }) {
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
