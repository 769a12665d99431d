// @ts-check
/** The HTTP client of the gateway. */

import { GatewayError } from "./errors.js";

const KEY = "api-key";

/** @type {(again: boolean) => Promise<string | null>} */
let askForKey = async () => null;
/** @type {Promise<string | null> | null} shared by all calls that need a key */
let asking = null;

/** @param {(again: boolean) => Promise<string | null>} ask asks the visitor for a key; again: after a wrong one */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/**
 * @param {string} path relative to the page, so that it also works below a prefix
 * @param {{method?: string, json?: unknown, headers?: Record<string, string>,
 *   signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} with status 2xx; any other is thrown as GatewayError
 */
export async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const response = await send(path, key, options);
  if (response.ok) return response;
  if (response.status === 401 && (await newKey(key))) return call(path, options);
  throw await errorFrom(response);
}

/**
 * @param {string} path
 * @param {string | null} key
 * @param {{method?: string, json?: unknown, headers?: Record<string, string>,
 *   signal?: AbortSignal}} options
 */
async function send(path, key, { method = "GET", json, headers = {}, signal }) {
  /** @type {Record<string, string>} */
  const all = { ...headers };
  if (key) all.Authorization = `Bearer ${key}`;
  if (json !== undefined) all["Content-Type"] = "application/json";
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    return await fetch(path, { method, headers: all, body, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new GatewayError(0, String(error));
  }
}

/** @param {string | null} refused */
async function newKey(refused) {
  if (sessionStorage.getItem(KEY) !== refused) return true; // another call has just got one
  asking ??= askForKey(refused !== null).finally(() => (asking = null));
  const key = await asking;
  if (key) sessionStorage.setItem(KEY, key);
  return Boolean(key);
}

/** @param {Response} response */
async function errorFrom(response) {
  const after = Number(response.headers.get("Retry-After") ?? NaN);
  const retryAfter = Number.isFinite(after) ? Math.min(after, 120) : undefined;
  const body = await response.json().catch(() => ({}));
  const { message = response.statusText, code = null } = body?.error ?? {};
  return new GatewayError(response.status, message, { code, retryAfter });
}
