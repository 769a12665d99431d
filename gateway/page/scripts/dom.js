// @ts-check
/** Helpers for elements. */

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
 * @param {Record<string, string | number | boolean | EventListener>} [attributes] a function is an event
 *   listener; false leaves the attribute out
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
 * An icon of images/icons.svg.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `images/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button with an icon and a label.
 * @param {string} iconName
 * @param {string} label
 * @param {() => void} run
 * @param {string} [style] its class
 */
export function button(iconName, label, run, style = "quiet") {
  return make("button", { type: "button", class: style, click: run }, icon(iconName), label);
}
