// @ts-check
/** The served model, and its defaults for the form. */

import { call } from "./client.js";
import { withRetries } from "./retry.js";

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
const DEFAULTS = { width: 512, height: 512 };

/**
 * @param {import("./retry.js").RetryOptions} retry
 * @returns {Promise<Model>}
 */
export async function fetchModel(retry) {
  const answer = await withRetries(retry, () => call("v1/models", { signal: retry.signal }));
  const { data } = await answer.json();
  const { id = "" } = data[0] ?? {};
  const isMiniature = /\bminiature-sd\b/.test(id);
  return { ...(isMiniature ? MINIATURE : DEFAULTS), id, isMiniature };
}
