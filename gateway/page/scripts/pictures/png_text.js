// @ts-check
/** Text chunks of PNG files. */

const SIGNATURE = "89504e470d0a1a0a";

/**
 * The text under a keyword, or null.
 * @param {Blob} file
 * @param {string} keyword
 * @returns {Promise<string | null>}
 */
export async function readText(file, keyword) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  for (const { type, data } of chunks(bytes)) {
    const end = data.indexOf(0);
    if (end < 0 || latin1(data.subarray(0, end)) !== keyword) continue;
    const rest = data.subarray(end + 1);
    if (type === "tEXt") return latin1(rest);
    if (type === "zTXt") return latin1(await inflate(rest.subarray(1)));
    if (type === "iTXt") return internationalText(rest);
  }
  return null;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Generator<{type: string, data: Uint8Array}>} nothing for a file that is no PNG
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
 * The text of an iTXt chunk, after compression flag and method, language and translated keyword.
 * @param {Uint8Array} data
 */
async function internationalText(data) {
  const language = data.indexOf(0, 2);
  const begin = data.indexOf(0, language + 1) + 1;
  const text = data.subarray(begin);
  return new TextDecoder().decode(data[0] === 1 ? await inflate(text) : text);
}

/** @param {Uint8Array} data */
async function inflate(data) {
  const stream = new Blob([/** @type {BlobPart} */ (data)]).stream();
  const inflated = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

/**
 * TextDecoder's "latin1" would be Windows-1252.
 * @param {Uint8Array} bytes
 */
function latin1(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
