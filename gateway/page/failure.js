// @ts-check
/** What goes wrong, and how it is told. */

export class Failure extends Error {
  /**
   * @param {number} status of HTTP; 0 where no answer came
   * @param {string} message the server's own words, for us or for the visitor
   * @param {{code?: string | null, retryAfter?: number}} [rest] seconds
   */
  constructor(status, message, { code = null, retryAfter } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether trying again may help. */
  get passes() {
    return [0, 429, 502, 503].includes(this.status);
  }
}

/** @type {Record<number, string>} */
const TOLD = {
  0: "The server cannot be reached just now.",
  401: "This server wants an API key.",
  404: "This drawing is not kept any more. Results are only held for a while.",
  413: "That is too much for one request. A smaller picture may do.",
  429: "That was a lot at once, so the server asks for a short break.",
  502: "The server is starting, or being restarted.",
  503: "The server has its hands full right now.",
  504: "It took too long, and the server gave up on it.",
};

/**
 * One friendly sentence.
 * @param {unknown} error
 */
export function told(error) {
  if (!(error instanceof Failure)) return `Something went wrong: ${error}`;
  if (error.status in TOLD) return TOLD[error.status];
  if (error.status >= 500) return "The server stumbled over this one. It may well work a second time.";
  return sentence(error.message);
}

/** @param {string} text */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/**
 * An error that a job carries, as a Failure.
 * @param {{message: string, type?: string, code?: string | null}} error
 */
export function failureOf({ message, type = "", code = null }) {
  const words = `${type} ${code ?? ""}`.toLowerCase();
  if (/unavailable|overload|busy|exhausted/.test(words)) return new Failure(503, message, { code });
  if (/deadline|timeout/.test(words)) return new Failure(504, message, { code });
  if (/invalid/.test(words)) return new Failure(400, message, { code });
  return new Failure(500, message, { code });
}
