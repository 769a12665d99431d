// @ts-check
/** A job of the gateway, from its submission to its pictures. */

import { call } from "./api.js";
import { events } from "./events.js";
import { Failure } from "./failure.js";
import { backoff, patiently, pause } from "./patience.js";

/** @typedef {import("./patience.js").Patience} Patience */
/**
 * What is asked for; what is left out is the model's own choice.
 * @typedef {object} Wish
 * @property {string} prompt
 * @property {string} [negative_prompt]
 * @property {number} n
 * @property {string} size `WxH` or `auto`
 * @property {number} [seed]
 * @property {number} [steps]
 * @property {number} [guidance_scale]
 * @property {string} [scheduler]
 * @property {number} [strength] with a picture to begin at
 */
/**
 * @typedef {object} Job
 * @property {string} id
 * @property {"queued" | "running" | "completed" | "failed" | "cancelled"} status
 * @property {number | null} [position] in the queue
 * @property {number | null} [step]
 * @property {number | null} [steps]
 * @property {{url: string, seed: number, index: number}[]} data
 * @property {{message: string, type?: string, code?: string | null} | null} error
 * @property {string | string[]} [preview] base64 PNG
 */

export const OVER = ["completed", "failed", "cancelled"];

/**
 * @param {Wish} wish
 * @param {string | null} image a base64 file to begin at
 * @param {Patience} patience
 * @returns {Promise<Job>}
 */
export async function submit(wish, image, patience) {
  // The same key at each try: an answer that got lost does not make two drawings.
  const headers = { "Idempotency-Key": uniqueKey() };
  const json = { ...wish, ...(image && { image }), previews: true };
  return patiently(patience, () => {
    const sent = call("v1/jobs", { method: "POST", json, headers });
    return unlessLeft(sent.then((answer) => answer.json()), patience.signal);
  });
}

/** crypto.randomUUID is not there over plain HTTP. */
const uniqueKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

/**
 * Not the request is broken off, whose job nobody could name any more, but its job is cancelled.
 * @param {Promise<Job>} sent
 * @param {AbortSignal} signal
 * @returns {Promise<Job>}
 */
function unlessLeft(sent, signal) {
  return new Promise((resolve, reject) => {
    sent.then(resolve, reject);
    signal.addEventListener("abort", () => {
      reject(signal.reason);
      sent.then(({ id }) => cancel(id)).catch(() => {});
    });
  });
}

/**
 * Each state of a job up to the last one, over as many connections as it takes.
 * @param {string} id
 * @param {Patience} patience
 * @returns {AsyncGenerator<Job>}
 */
export async function* follow(id, { signal, onWait }) {
  const path = `v1/jobs/${encodeURIComponent(id)}/events`;
  for (let lost = 0; ; lost++) {
    try {
      const answer = await call(path, { headers: { Accept: "text/event-stream" }, signal });
      for await (const { event, data } of events(answer)) {
        if (event !== "job") continue;
        const job = JSON.parse(data);
        lost = 0;
        yield job;
        if (OVER.includes(job.status)) return;
      }
      throw new Failure(0, "the connection ended");
    } catch (error) {
      const failure = error instanceof Failure ? error : new Failure(0, String(error));
      if (signal.aborted || !failure.passes) throw error;
      const seconds = failure.retryAfter ?? backoff(lost);
      onWait(failure, seconds);
      await pause(seconds, signal);
    }
  }
}

/** @param {string} id */
export async function cancel(id) {
  await call(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/**
 * @param {string} id
 * @param {number} index
 * @param {Patience} patience
 * @returns {Promise<Blob>}
 */
export async function picture(id, index, patience) {
  const path = `v1/jobs/${encodeURIComponent(id)}/images/${index}`;
  const answer = await patiently(patience, () => call(path, { signal: patience.signal }));
  return answer.blob();
}
