// @ts-check
/** The picture to begin at. */

import { byId } from "./dom.js";
import { notify } from "./notice.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const LARGEST_BYTES = 3_000_000; // what is larger, a photo, is made smaller before it travels
const LARGEST_SIDE = 1536;

export class Source {
  constructor() {
    /** @type {Blob | null} */
    this.file = null;
    /** Until then, what was taken last may still be opened, or made smaller. */
    this.taken = Promise.resolve(true);
    const input = /** @type {HTMLInputElement} */ (byId("source-file"));
    byId("choose").addEventListener("click", () => input.click());
    byId("remove-source").addEventListener("click", () => {
      this.show(null);
      byId("choose").focus();
    });
    input.addEventListener("change", () => {
      if (input.files?.[0]) this.take(input.files[0]);
      input.value = ""; // so that the same one can be chosen again
    });
    addEventListener("paste", ({ clipboardData }) => {
      const file = clipboardData?.files[0];
      const isText = clipboardData?.types.includes("text/plain"); // of which it may be a rendering
      if (file && !isText) this.take(file);
    });
  }

  /**
   * @param {Blob} file of any kind
   * @returns {Promise<boolean>} whether it can be begun at
   */
  take(file) {
    this.taken = this.#open(file);
    return this.taken;
  }

  /** @param {Blob} file */
  async #open(file) {
    if (!KINDS.includes(file.type)) {
      notify("That is not a picture that can be begun at. PNG, JPEG and WebP are.");
      return false;
    }
    try {
      this.show(file.size > LARGEST_BYTES ? await smaller(file) : await checked(file));
      return true;
    } catch {
      notify("That picture is damaged, or too large to open.");
      return false;
    }
  }

  /** @param {Blob | null} file a picture, or none */
  show(file) {
    const image = /** @type {HTMLImageElement} */ (byId("source-picture"));
    if (this.file) URL.revokeObjectURL(image.src);
    this.file = file;
    if (file) {
      image.src = URL.createObjectURL(file);
      /** @type {HTMLDetailsElement} */ (byId("settings")).open = true;
    }
    byId("source").hidden = !file;
    byId("choose").hidden = Boolean(file);
    /** @type {HTMLInputElement} */ (byId("strength")).disabled = !file;
  }
}

/** @param {Blob} file */
async function checked(file) {
  (await createImageBitmap(file)).close();
  return file;
}

/**
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
async function smaller(file) {
  const bitmap = await createImageBitmap(file);
  const share = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * share);
  canvas.height = Math.round(bitmap.height * share);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white"; // as the server does it with what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve, reject) => {
    const done = (/** @type {Blob | null} */ blob) => (blob ? resolve(blob) : reject(new Error("too large")));
    canvas.toBlob(done, "image/jpeg", 0.92);
  });
}

/**
 * @param {Blob} file
 * @returns {Promise<string>}
 */
export function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1]);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
