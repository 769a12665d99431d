// @ts-check
/** Files that are dropped: on one half to read their parameters, on the other to begin at them. */

import { byId } from "./dom.js";

/**
 * @param {(file: File) => void} read
 * @param {(file: File) => void} begin
 */
export function onDrop(read, begin) {
  const overlay = byId("drop");
  const uses = { read, begin };
  /** @param {DragEvent} event */
  const half = ({ target }) => (target instanceof Element ? target.closest("[data-use]") : null);

  addEventListener("dragenter", (event) => {
    if (event.dataTransfer?.types.includes("Files")) overlay.hidden = false;
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) overlay.hidden = true; // out of the window
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    for (const one of overlay.children) one.classList.toggle("over", one === half(event));
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    overlay.hidden = true;
    const file = event.dataTransfer?.files[0];
    const use = half(event)?.getAttribute("data-use") === "begin" ? "begin" : "read";
    if (file) uses[use](file);
  });
}
