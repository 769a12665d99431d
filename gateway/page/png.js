// @ts-check
/** The texts inside PNG files. */

const SIGNATURE = "89504e470d0a1a0a";

/**
 * The text under a keyword, or null.
 * @param {Blob} file
 * @param {string} keyword
 * @returns {Promise<string | null>}
 */
export async function textIn(file, keyword) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  for (const { type, data } of chunks(bytes)) {
    const end = data.indexOf(0);
    if (end < 0 || latin1(data.subarray(0, end)) !== keyword) continue;
    const rest = data.subarray(end + 1);
    if (type === "tEXt") return latin1(rest);
    if (type === "zTXt") return latin1(await inflated(rest.subarray(1)));
    if (type === "iTXt") return international(rest);
  }
  return null;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Generator<{type: string, data: Uint8Array}>} none for what is no PNG
 */
function* chunks(bytes) {
  const begin = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0"));
  if (begin.join("") !== SIGNATURE) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    yield { type: latin1(bytes.subarray(at + 4, at + 8)), data: bytes.subarray(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}

/**
 * Compression flag and method, language, translated keyword, then the text.
 * @param {Uint8Array} data
 */
async function international(data) {
  const language = data.indexOf(0, 2);
  const begin = data.indexOf(0, language + 1) + 1;
  const text = data.subarray(begin);
  return new TextDecoder().decode(data[0] === 1 ? await inflated(text) : text);
}

/** @param {Uint8Array} data */
async function inflated(data) {
  const stream = new Blob([/** @type {BlobPart} */ (data)]).stream();
  const opened = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(opened).arrayBuffer());
}

/**
 * Not TextDecoder's: its "latin1" is Windows-1252.
 * @param {Uint8Array} bytes
 */
function latin1(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
