// @ts-check
/** The gateway's jobs API. */

import { call } from "./client.js";
import { readEvents } from "./event_stream.js";
import { GatewayError } from "./errors.js";
import { backoff, withRetries, pause } from "./retry.js";

/** @typedef {import("./retry.js").RetryOptions} RetryOptions */
/**
 * The fields of a request. A field that is left out has the model's default.
 * @typedef {object} GenerationRequest
 * @property {string} prompt
 * @property {string} [negative_prompt]
 * @property {number} n
 * @property {string} size `WxH` or `auto`
 * @property {number} [seed]
 * @property {number} [steps]
 * @property {number} [guidance_scale]
 * @property {string} [scheduler]
 * @property {number} [strength] with a source image
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

export const ENDED = ["completed", "failed", "cancelled"];

/**
 * @param {GenerationRequest} request
 * @param {string | null} image the file to start from, in base64
 * @param {RetryOptions} retry
 * @returns {Promise<Job>}
 */
export async function submit(request, image, retry) {
  // Each try has the same key, so that a lost answer does not draw twice.
  const headers = { "Idempotency-Key": uniqueKey() };
  const json = { ...request, ...(image && { image }), previews: true };
  return withRetries(retry, () => {
    const sent = call("v1/jobs", { method: "POST", json, headers });
    return unlessAborted(sent.then((answer) => answer.json()), retry.signal);
  });
}

/** crypto.randomUUID does not exist over plain HTTP. */
const uniqueKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

/**
 * On abort, lets the request finish and cancels its job: an aborted request would leave a job whose
 * id nobody knows.
 * @param {Promise<Job>} sent
 * @param {AbortSignal} signal
 * @returns {Promise<Job>}
 */
function unlessAborted(sent, signal) {
  return new Promise((resolve, reject) => {
    sent.then(resolve, reject);
    signal.addEventListener("abort", () => {
      reject(signal.reason);
      sent.then(({ id }) => cancel(id)).catch(() => {});
    });
  });
}

/**
 * Yields each state of a job until it has ended. Connects again when the connection is lost.
 * @param {string} id
 * @param {RetryOptions} retry
 * @returns {AsyncGenerator<Job>}
 */
export async function* follow(id, { signal, onRetry }) {
  const path = `v1/jobs/${encodeURIComponent(id)}/events`;
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await call(path, { headers: { Accept: "text/event-stream" }, signal });
      for await (const { event, data } of readEvents(answer)) {
        if (event !== "job") continue;
        const job = JSON.parse(data);
        attempt = 0;
        yield job;
        if (ENDED.includes(job.status)) return;
      }
      throw new GatewayError(0, "the connection ended");
    } catch (error) {
      const failure = error instanceof GatewayError ? error : new GatewayError(0, String(error));
      if (signal.aborted || !failure.isTransient) throw error;
      const seconds = failure.retryAfter ?? backoff(attempt);
      onRetry(failure, seconds);
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
 * @param {RetryOptions} retry
 * @returns {Promise<Blob>}
 */
export async function picture(id, index, retry) {
  const path = `v1/jobs/${encodeURIComponent(id)}/images/${index}`;
  const answer = await withRetries(retry, () => call(path, { signal: retry.signal }));
  return answer.blob();
}
