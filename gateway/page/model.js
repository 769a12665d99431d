// @ts-check
/** The model behind the gateway. */

import { call } from "./api.js";
import { patiently } from "./patience.js";

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {number} width
 * @property {number} height
 * @property {number} [steps]
 * @property {number} [guidance_scale]
 * @property {string} [scheduler]
 * @property {boolean} isMiniature
 */

const MINIATURE = { width: 128, height: 128, steps: 12, guidance_scale: 3, scheduler: "ddim" };
const USUAL = { width: 512, height: 512 };

/**
 * @param {import("./patience.js").Patience} patience
 * @returns {Promise<Model>}
 */
export async function theModel(patience) {
  const answer = await patiently(patience, () => call("v1/models", { signal: patience.signal }));
  const { data } = await answer.json();
  const { id = "" } = data[0] ?? {};
  const isMiniature = /\bminiature-sd\b/.test(id);
  return { ...(isMiniature ? MINIATURE : USUAL), id, isMiniature };
}
