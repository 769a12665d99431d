// @ts-check
/** Generation parameters in PNG files, in the format of AUTOMATIC1111's web UI. */

import { readText } from "./png_text.js";

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

/** API names and the labels in files, as in ray_stages/requests/schedulers.py. */
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
export async function readParameters(file) {
  const text = await readText(file, "parameters");
  return text === null ? null : parse(text);
}

/**
 * @param {string} text
 * @returns {Parameters}
 */
export function parse(text) {
  const lines = text.split("\n");
  const fields = /^Steps: |^Seed: |^Size: /.test(lines.at(-1) ?? "") ? parseFields(lines.pop() ?? "") : {};
  const negative = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  const end = negative < 0 ? lines.length : negative;
  const label = fields.Sampler;
  return {
    prompt: lines.slice(0, end).join("\n").trim(),
    negative_prompt: lines.slice(end).join("\n").replace("Negative prompt:", "").trim(),
    size: /^\d+x\d+$/.test(fields.Size) ? fields.Size : "auto",
    seed: parseNumber(fields.Seed),
    steps: parseNumber(fields.Steps),
    guidance_scale: parseNumber(fields["CFG scale"]),
    scheduler: Object.entries(SCHEDULERS).find(([, name]) => name === label)?.[0],
    strength: parseNumber(fields["Denoising strength"]),
    model: fields.Model,
  };
}

/**
 * `Steps: 20, Sampler: DDIM, Note: "a, b"`; a value with a comma is in quotes.
 * @param {string} line
 * @returns {Record<string, string>}
 */
function parseFields(line) {
  const pairs = line.matchAll(/\s*([^:,]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g);
  return Object.fromEntries(Array.from(pairs, ([, key, value]) => [key, value.trim()]));
}

/** @param {string | undefined} text */
function parseNumber(text) {
  return text === undefined || text === "" || Number.isNaN(Number(text)) ? undefined : Number(text);
}
