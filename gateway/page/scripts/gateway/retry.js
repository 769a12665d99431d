// @ts-check
/** Retries of calls that fail for a while. */

import { GatewayError } from "./errors.js";

/**
 * @typedef {object} RetryOptions
 * @property {AbortSignal} signal aborts the call and the pauses
 * @property {(error: GatewayError, seconds: number) => void} onRetry is called before each pause
 */

const MAX_SECONDS = 15;

/**
 * @param {number} attempt from 0
 * @returns {number} seconds
 */
export const backoff = (attempt) => Math.min(2 ** attempt, MAX_SECONDS);

/**
 * @template T
 * @param {RetryOptions} retry
 * @param {() => Promise<T>} action
 * @returns {Promise<T>} throws an error that is not transient
 */
export async function withRetries({ signal, onRetry }, action) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || !(error instanceof GatewayError) || !error.isTransient) throw error;
      const seconds = error.retryAfter ?? backoff(attempt);
      onRetry(error, seconds);
      await pause(seconds, signal);
    }
  }
}

/**
 * Resolves early when the network comes back.
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
