// @ts-check
/** The pictures of this browser, in its IndexedDB. */

/**
 * @typedef {object} Kept
 * @property {string} id job and index: a job that is resumed keeps its pictures once
 * @property {number} at milliseconds since 1970
 * @property {Blob} blob the PNG file as the server made it
 * @property {import("./job.js").Wish} wish
 * @property {import("./parameters.js").Parameters} parameters
 * @property {Blob | null} source the picture that it began at
 */

const PICTURES = "pictures";
const SOURCES = "sources"; // what running jobs began at, for the reload in between

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

/** @returns {Promise<IDBDatabase>} */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("latent-relay", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(PICTURES, { keyPath: "id" });
      request.result.createObjectStore(SOURCES);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/**
 * @param {string} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} ask
 * @returns {Promise<any>} once it is on disk
 */
async function transact(name, mode, ask) {
  const transaction = (await database()).transaction(name, mode);
  const request = ask(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** @param {Kept} picture */
export const keep = (picture) => transact(PICTURES, "readwrite", (store) => store.put(picture));

/** @param {string} id */
export const forget = (id) => transact(PICTURES, "readwrite", (store) => store.delete(id));

/** @returns {Promise<Kept[]>} the newest first */
export async function all() {
  /** @type {Kept[]} */
  const pictures = await transact(PICTURES, "readonly", (store) => store.getAll());
  return pictures.sort((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1));
}

/**
 * @param {string} job
 * @param {Blob} file
 */
export const keepSource = (job, file) =>
  transact(SOURCES, "readwrite", (store) => store.put(file, job));

/**
 * @param {string} job
 * @returns {Promise<Blob | undefined>}
 */
export const sourceOf = (job) => transact(SOURCES, "readonly", (store) => store.get(job));

/** @param {string} job */
export const forgetSource = (job) => transact(SOURCES, "readwrite", (store) => store.delete(job));
