// @ts-check
/** Words to the visitor: spoken by screen readers, or shown for a while at the foot of the page. */

import { byId, make } from "./dom.js";

const SHOWN_SECONDS = 8;

/**
 * For screen readers alone, where the page shows the same by its looks.
 * @param {string} text
 */
export function say(text) {
  byId("said").textContent = text;
}

/** @type {ReturnType<typeof setTimeout>} */
let timer;

/**
 * @param {string} text
 * @param {{label: string, run: () => void}} [action] such as Undo
 */
export function notify(text, action) {
  const place = byId("notice");
  const hide = () => place.replaceChildren();
  const parts = [make("span", {}, text)];
  if (action) {
    const run = () => (hide(), action.run());
    parts.push(make("button", { type: "button", class: "quiet", click: run }, action.label));
  }
  place.replaceChildren(make("div", {}, ...parts));
  clearTimeout(timer);
  timer = setTimeout(hide, SHOWN_SECONDS * 1000);
}
