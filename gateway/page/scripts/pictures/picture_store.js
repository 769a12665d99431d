// @ts-check
/** The gallery's pictures, in the browser's IndexedDB. */

/**
 * @typedef {object} StoredPicture
 * @property {string} id job and index, so that a resumed job stores its pictures once
 * @property {number} at milliseconds since 1970
 * @property {Blob} blob the server's PNG file
 * @property {import("../gateway/jobs.js").GenerationRequest} request
 * @property {import("./parameters.js").Parameters} parameters
 * @property {Blob | null} source its source image
 */

const PICTURES = "pictures";
const SOURCES = "sources"; // the source images of running jobs, for a reload of the page

/** @type {Promise<IDBDatabase> | undefined} */
let opening;

/** @returns {Promise<IDBDatabase>} */
function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("latent-relay", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(PICTURES, { keyPath: "id" });
      request.result.createObjectStore(SOURCES);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

/**
 * @param {string} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} query
 * @returns {Promise<any>} once it is on disk
 */
async function transact(name, mode, query) {
  const transaction = (await database()).transaction(name, mode);
  const request = query(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** @param {StoredPicture} picture */
export const put = (picture) => transact(PICTURES, "readwrite", (store) => store.put(picture));

/** @param {string} id */
export const remove = (id) => transact(PICTURES, "readwrite", (store) => store.delete(id));

/** @returns {Promise<StoredPicture[]>} the newest first */
export async function all() {
  /** @type {StoredPicture[]} */
  const pictures = await transact(PICTURES, "readonly", (store) => store.getAll());
  return pictures.sort((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1));
}

/**
 * @param {string} job
 * @param {Blob} file
 */
export const putSource = (job, file) =>
  transact(SOURCES, "readwrite", (store) => store.put(file, job));

/**
 * @param {string} job
 * @returns {Promise<Blob | undefined>}
 */
export const getSource = (job) => transact(SOURCES, "readonly", (store) => store.get(job));

/** @param {string} job */
export const removeSource = (job) => transact(SOURCES, "readwrite", (store) => store.delete(job));
