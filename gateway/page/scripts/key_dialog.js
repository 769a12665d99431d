// @ts-check
/** Asks for an API key, where the server needs one. */

import { byId } from "./dom.js";

/**
 * @param {boolean} again whether the last key was wrong
 * @returns {Promise<string | null>}
 */
export function askForKey(again) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("key"));
  const input = /** @type {HTMLInputElement} */ (byId("key-value"));
  if (again) byId("key-text").textContent = "The server does not know that key. Is there another?";
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = () => resolve((dialog.returnValue && input.value.trim()) || null);
    dialog.addEventListener("close", answer, { once: true });
  });
}
