// @ts-check
/** Trying again what may work later. */

import { Failure } from "./failure.js";

/**
 * @typedef {object} Patience
 * @property {AbortSignal} signal ends the waiting, and the call
 * @property {(failure: Failure, seconds: number) => void} onWait told before each pause
 */

const LONGEST = 15;

/**
 * @param {number} attempt from 0
 * @returns {number} seconds
 */
export const backoff = (attempt) => Math.min(2 ** attempt, LONGEST);

/**
 * @template T
 * @param {Patience} patience
 * @param {() => Promise<T>} action
 * @returns {Promise<T>} raises what is not worth another try
 */
export async function patiently({ signal, onWait }, action) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || !(error instanceof Failure) || !error.passes) throw error;
      const seconds = error.retryAfter ?? backoff(attempt);
      onWait(error, seconds);
      await pause(seconds, signal);
    }
  }
}

/**
 * Ends early when the network comes back.
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
