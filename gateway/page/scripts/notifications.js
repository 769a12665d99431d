// @ts-check
/** Messages: announced to screen readers, or shown for a while at the bottom of the page. */

import { byId, make } from "./dom.js";

const SHOWN_SECONDS = 8;

/**
 * For screen readers only, where the page itself shows the same.
 * @param {string} text
 */
export function announce(text) {
  byId("announcement").textContent = text;
}

/** @type {ReturnType<typeof setTimeout>} */
let timer;

/**
 * @param {string} text
 * @param {{label: string, run: () => void}} [action] such as Undo
 */
export function notify(text, action) {
  const element = byId("notification");
  const hide = () => element.replaceChildren();
  const parts = [make("span", {}, text)];
  if (action) {
    const run = () => (hide(), action.run());
    parts.push(make("button", { type: "button", class: "quiet", click: run }, action.label));
  }
  element.replaceChildren(make("div", {}, ...parts));
  clearTimeout(timer);
  timer = setTimeout(hide, SHOWN_SECONDS * 1000);
}
