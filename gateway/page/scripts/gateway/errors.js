// @ts-check
/** Errors of the gateway, and the sentences that the page shows for them. */

export class GatewayError extends Error {
  /**
   * @param {number} status of HTTP; 0 where no answer came
   * @param {string} message the server's message
   * @param {{code?: string | null, retryAfter?: number}} [rest] seconds
   */
  constructor(status, message, { code = null, retryAfter } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether another try may succeed. */
  get isTransient() {
    return [0, 429, 502, 503].includes(this.status);
  }
}

/** @type {Record<number, string>} */
const MESSAGES = {
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
 * One sentence for the visitor.
 * @param {unknown} error
 */
export function messageFor(error) {
  if (!(error instanceof GatewayError)) return `Something went wrong: ${error}`;
  if (error.status in MESSAGES) return MESSAGES[error.status];
  if (error.status >= 500) return "The server stumbled over this one. It may well work a second time.";
  return sentence(error.message);
}

/** @param {string} text */
function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/**
 * The error of a failed job as a GatewayError.
 * @param {{message: string, type?: string, code?: string | null}} error
 */
export function errorOfJob({ message, type = "", code = null }) {
  const words = `${type} ${code ?? ""}`.toLowerCase();
  if (/unavailable|overload|busy|exhausted/.test(words)) return new GatewayError(503, message, { code });
  if (/deadline|timeout/.test(words)) return new GatewayError(504, message, { code });
  if (/invalid/.test(words)) return new GatewayError(400, message, { code });
  return new GatewayError(500, message, { code });
}
