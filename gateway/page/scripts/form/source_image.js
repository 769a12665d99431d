// @ts-check
/** The source image: the picture to start from. */

import { byId } from "../dom.js";
import { notify } from "../notifications.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const MAX_BYTES = 3_000_000; // a larger file, such as a photo, is shrunk before it is sent
const MAX_SIDE = 1536;

export class SourceImage {
  constructor() {
    /** @type {Blob | null} */
    this.file = null;
    /** Settles when the last file has been opened, and shrunk where necessary. */
    this.loaded = Promise.resolve(true);
    const input = /** @type {HTMLInputElement} */ (byId("source-file"));
    byId("choose").addEventListener("click", () => input.click());
    byId("remove-source").addEventListener("click", () => {
      this.show(null);
      byId("choose").focus();
    });
    input.addEventListener("change", () => {
      if (input.files?.[0]) this.load(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
    addEventListener("paste", ({ clipboardData }) => {
      const file = clipboardData?.files[0];
      const isText = clipboardData?.types.includes("text/plain"); // the file may be a rendering of the text
      if (file && !isText) this.load(file);
    });
  }

  /**
   * @param {Blob} file of any kind
   * @returns {Promise<boolean>} whether it is an image that can be used
   */
  load(file) {
    this.loaded = this.#open(file);
    return this.loaded;
  }

  /** @param {Blob} file */
  async #open(file) {
    if (!KINDS.includes(file.type)) {
      notify("That is not a picture that can be begun at. PNG, JPEG and WebP are.");
      return false;
    }
    try {
      this.show(file.size > MAX_BYTES ? await shrink(file) : await check(file));
      return true;
    } catch {
      notify("That picture is damaged, or too large to open.");
      return false;
    }
  }

  /** @param {Blob | null} file a picture, or null for none */
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
async function check(file) {
  (await createImageBitmap(file)).close();
  return file;
}

/**
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
async function shrink(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white"; // the server puts transparent images on white, too
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
