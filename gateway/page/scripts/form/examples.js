// @ts-check
/** Example prompts for the miniature model, which models/miniature-sd/README.md describes. */

import { byId, icon, make } from "../dom.js";

const COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "pink", "cyan", "black", "white"];
const SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross"];
const SIZES = ["small", "medium", "large"];
const PLACES = ["", "", " at the top", " in the top left corner", " on the right", " at the bottom right"];

/** @typedef {[prompt: string, shape: string, colour: string, ground: string]} Example */

/** @type {Example[]} */
const EXAMPLES = [
  ["a large yellow star on a black background", "star", "yellow", "black"],
  ["a huge pink heart on a blue background", "heart", "pink", "blue"],
  ["a large white ring on an orange background", "ring", "white", "orange"],
  ["a red circle above a blue square on white", "circle", "red", "white"],
  ["a yellow cross on a purple background", "cross", "yellow", "purple"],
];

/** @param {(prompt: string) => void} use puts a prompt into the form */
export function showExamples(use) {
  const chips = EXAMPLES.map(([prompt, shape, colour, ground]) =>
    chip(swatch(shape, colour, ground), prompt, () => use(prompt)),
  );
  const surprise = chip(icon("dice"), "Surprise me", () => use(randomPrompt()));
  byId("examples").replaceChildren(...[...chips, surprise].map((one) => make("li", {}, one)));
  byId("example-section").hidden = false;
}

/** Shows the model's eight shapes in place of a picture. */
export function showShapes() {
  const colours = ["red", "blue", "green", "yellow", "pink", "cyan", "purple", "orange"];
  byId("shapes").replaceChildren(
    ...SHAPES.map((shape, i) => make("li", { "data-ink": colours[i] }, icon(`shape-${shape}`))),
  );
}

/**
 * @param {Node} image
 * @param {string} label
 * @param {() => void} run
 */
const chip = (image, label, run) =>
  make("button", { type: "button", class: "chip", click: run }, image, make("span", {}, label));

/**
 * @param {string} shape
 * @param {string} colour
 * @param {string} ground
 */
const swatch = (shape, colour, ground) =>
  make("span", { class: "swatch", "data-ink": colour, "data-ground": ground }, icon(`shape-${shape}`));

/** @returns {string} a prompt with one object, which the model draws best */
function randomPrompt() {
  const ground = any(COLOURS);
  const colour = any(COLOURS.filter((other) => other !== ground));
  const article = ground === "orange" ? "an" : "a";
  return `a ${any(SIZES)} ${colour} ${any(SHAPES)}${any(PLACES)} on ${article} ${ground} background`;
}

/**
 * @template T
 * @param {T[]} choices
 * @returns {T}
 */
const any = (choices) => choices[Math.floor(Math.random() * choices.length)];
