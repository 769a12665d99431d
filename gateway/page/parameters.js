// @ts-check
/** The parameters of a picture, as AUTOMATIC1111 made it customary to write them into PNG files. */

import { textIn } from "./png.js";

/**
 * @typedef {object} Parameters
 * @property {string} prompt
 * @property {string} negative_prompt
 * @property {string} size `WxH`
 * @property {number} [seed]
 * @property {number} [steps]
 * @property {number} [guidance_scale]
 * @property {string} [scheduler]
 * @property {number} [strength]
 * @property {string} [model]
 */

/** The names of the API, and the labels that stand in files: those of ray_stages/requests/schedulers.py. */
export const SCHEDULERS = Object.freeze({
  ddim: "DDIM",
  ddpm: "DDPM",
  pndm: "PLMS",
  euler: "Euler",
  euler_ancestral: "Euler a",
  heun: "Heun",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_2m_karras: "DPM++ 2M Karras",
  unipc: "UniPC",
  deis: "DEIS",
  lcm: "LCM",
});

/**
 * @param {Blob} file
 * @returns {Promise<Parameters | null>}
 */
export async function parametersIn(file) {
  const text = await textIn(file, "parameters");
  return text === null ? null : parse(text);
}

/**
 * @param {string} text
 * @returns {Parameters}
 */
export function parse(text) {
  const lines = text.split("\n");
  const facts = /^Steps: |^Seed: |^Size: /.test(lines.at(-1) ?? "") ? factsIn(lines.pop() ?? "") : {};
  const negative = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  const end = negative < 0 ? lines.length : negative;
  const label = facts.Sampler;
  return {
    prompt: lines.slice(0, end).join("\n").trim(),
    negative_prompt: lines.slice(end).join("\n").replace("Negative prompt:", "").trim(),
    size: /^\d+x\d+$/.test(facts.Size) ? facts.Size : "auto",
    seed: number(facts.Seed),
    steps: number(facts.Steps),
    guidance_scale: number(facts["CFG scale"]),
    scheduler: Object.entries(SCHEDULERS).find(([, name]) => name === label)?.[0],
    strength: number(facts["Denoising strength"]),
    model: facts.Model,
  };
}

/**
 * `Steps: 20, Sampler: DDIM, Note: "a, b"`; what holds a comma stands in quotes.
 * @param {string} line
 * @returns {Record<string, string>}
 */
function factsIn(line) {
  const pairs = line.matchAll(/\s*([^:,]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g);
  return Object.fromEntries(Array.from(pairs, ([, key, value]) => [key, value.trim()]));
}

/** @param {string | undefined} text */
function number(text) {
  return text === undefined || text === "" || Number.isNaN(Number(text)) ? undefined : Number(text);
}
