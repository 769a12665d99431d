// @ts-check
/** Dropped files: one half of the page reads their parameters, the other starts from them. */

import { byId } from "../dom.js";

/**
 * @param {(file: File) => void} read
 * @param {(file: File) => void} start
 */
export function onFileDropped(read, start) {
  const overlay = byId("drop-zone");
  const uses = { read, start };
  /** @param {DragEvent} event */
  const half = ({ target }) => (target instanceof Element ? target.closest("[data-use]") : null);

  addEventListener("dragenter", (event) => {
    if (event.dataTransfer?.types.includes("Files")) overlay.hidden = false;
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) overlay.hidden = true; // the pointer left the window
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    for (const one of overlay.children) one.classList.toggle("over", one === half(event));
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    overlay.hidden = true;
    const file = event.dataTransfer?.files[0];
    const use = half(event)?.getAttribute("data-use") === "start" ? "start" : "read";
    if (file) uses[use](file);
  });
}
