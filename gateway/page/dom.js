// @ts-check
/** Elements, found and made. */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/**
 * @param {string} tag
 * @param {Record<string, string | number | boolean | EventListener>} [attributes] functions listen,
 *   false leaves out
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * One of the drawings in icons.svg.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button with a drawing and words.
 * @param {string} drawing
 * @param {string} words
 * @param {() => void} run
 * @param {string} [style] its class
 */
export function button(drawing, words, run, style = "quiet") {
  return make("button", { type: "button", class: style, click: run }, icon(drawing), words);
}
