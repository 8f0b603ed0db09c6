/** HTTP requests, responses and retries. */

import { Unavailable } from "./errors.js";
import { kindOf } from "./problem_types.js";

/** Seconds before the first retry; doubled before each further one. */
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 30;

/** Node's error codes of connections that were never established, so that nothing can have been sent. */
const NEVER_CONNECTED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/**
 * Options for streamed bodies. With any other `redirect` and `window`, Node's fetch keeps a copy of the whole body.
 *
 * @type {object}
 */
const STREAMED = { duplex: "half", redirect: "error", window: null };

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} url
 * @property {Headers} headers
 * @property {NonNullable<RequestInit["body"]>} [body]
 * @property {AbortSignal | undefined} [signal] Aborts the request.
 * @property {number | null} timeout Timeout in seconds for the whole request; null for none.
 * @property {((text: string) => any) | undefined} [parse] Parser of the response, if not `JSON.parse`.
 */

/** A response, with its body read. */
export class Answer {
  /**
   * @param {Response} response
   * @param {string} text The body.
   * @param {(text: string) => any} [parse]
   */
  constructor(response, text, parse = JSON.parse) {
    this.status = response.status;
    /** Whether Headwater itself, and not a proxy, reports success. */
    this.ok = false;
    /** `Retry-After` in seconds; 0 if absent. */
    this.retryAfter = secondsIn(response.headers.get("Retry-After"), Date.now());
    /** @type {Record<string, any>} */
    this.body = {};
    try {
      const body = parse(text);
      if (typeof body === "object" && body !== null) this.body = body;
      this.ok = response.ok && this.body["success"] === true;
    } catch {
      // Not JSON: the response comes from a proxy.
    }
  }

  /** The problem's `type`; null if there is none. */
  get type() {
    return typeof this.body["type"] === "string" ? this.body["type"] : null;
  }

  /** The fields of an error response. */
  get fields() {
    const { title, detail, messages, errors, request_id } = this.body;
    return {
      status: this.status,
      type: this.type,
      title: typeof title === "string" ? title : null,
      detail: typeof detail === "string" ? detail : null,
      messages: Array.isArray(messages) ? messages : [],
      errors: Array.isArray(errors) ? errors : [],
      requestId: typeof request_id === "string" ? request_id : null,
    };
  }

  /** The error message, in one sentence. */
  get message() {
    const { detail, messages } = this.fields;
    if (detail === null) return `the answer was ${this.status}, and not one of Headwater's`;
    const [first] = messages;
    return first === undefined || first === detail ? detail : `${detail} (${first})`;
  }

  /** The error for this response. */
  get error() {
    // Also reached by a 2xx from a proxy, which becomes a plain HeadwaterError.
    return new (kindOf(this.status, this.type))(this.message, this.fields);
  }
}

/** There was no response: the connection failed or timed out. */
export class NoAnswer extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super(`Headwater cannot be reached: ${reasonOf(cause)}`, { cause });
    /** Whether certainly nothing was sent. */
    this.neverConnected = NEVER_CONNECTED.has(codeOf(cause));
  }
}

/**
 * Send a request once.
 *
 * @param {Request} request
 * @returns {Promise<Answer>}
 * @throws {NoAnswer} There was no response.
 * @throws The signal's reason, if it was aborted.
 */
export async function send({ method, url, headers, body, signal, timeout, parse }) {
  signal?.throwIfAborted();
  // Not AbortSignal.any and AbortSignal.timeout: a writer sends thousands of requests with one signal, and each would
  // leak a dependent signal.
  const control = new AbortController();
  const abort = () => control.abort(signal?.reason);
  signal?.addEventListener("abort", abort);
  const slow = () => control.abort(new Error(`there was no answer within ${timeout} seconds`));
  const timer = timeout === null ? undefined : setTimeout(slow, timeout * 1000);
  try {
    const response = await fetch(url, {
      method,
      headers,
      body: body ?? null,
      signal: control.signal,
      // A followed redirect may turn a POST into a GET.
      redirect: "manual",
      ...(body instanceof ReadableStream ? STREAMED : {}),
    });
    return new Answer(response, await response.text(), parse);
  } catch (error) {
    signal?.throwIfAborted();
    throw new NoAnswer(error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * Make a call, and retry it with exponential backoff.
 *
 * @param {() => Promise<Answer>} attempt
 * @param {object} how
 * @param {(failure: Answer | NoAnswer) => boolean} how.again Whether to retry after a failure.
 * @param {number} how.retryFor Seconds for which it is retried, counted from the first attempt.
 * @param {AbortSignal | undefined} [how.signal] Aborts the waits between attempts.
 * @returns {Promise<Answer>} A success, or an error response that is not to be retried.
 * @throws {Unavailable} `retryFor` has passed, or there was no response.
 */
export async function retry(attempt, { again, retryFor, signal }) {
  const begun = performance.now();
  for (let tries = 1; ; tries += 1) {
    const outcome = await attempt().catch((error) => {
      if (error instanceof NoAnswer) return error;
      throw error;
    });
    if (outcome instanceof Answer && (outcome.ok || !again(outcome))) return outcome;
    const left = retryFor - (performance.now() - begun) / 1000;
    const asked = outcome instanceof Answer ? outcome.retryAfter : 0;
    if (!again(outcome) || left <= 0 || asked > left) throw gaveUp(outcome, tries);
    await sleep(Math.min(pauseAfter(tries, asked, Math.random()), left), signal);
  }
}

/**
 * Return the seconds to wait before the next attempt.
 *
 * @param {number} tries Number of attempts so far.
 * @param {number} asked `Retry-After` in seconds.
 * @param {number} random From 0 to 1: jitter, so that clients which failed together do not retry together.
 */
export function pauseAfter(tries, asked, random) {
  const pause = Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE);
  return Math.max(pause * (1 - random / 2), asked);
}

/**
 * Parse a `Retry-After` header; returns seconds, 0 if it is absent or invalid.
 *
 * @param {string | null} header Seconds, or an HTTP date.
 * @param {number} now Milliseconds since 1970.
 */
export function secondsIn(header, now) {
  if (header === null) return 0;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const until = Date.parse(header);
  return Number.isNaN(until) ? 0 : Math.max(0, (until - now) / 1000);
}

/**
 * Whether an error response is transient: 429 or 5xx.
 *
 * @param {Answer} answer
 */
export function isTransientStatus(answer) {
  return answer.status === 429 || answer.status >= 500;
}

/**
 * @param {Answer | NoAnswer} outcome
 * @param {number} tries
 */
function gaveUp(outcome, tries) {
  const why = tries === 1 ? outcome.message : `gave up after ${tries} tries: ${outcome.message}`;
  return outcome instanceof Answer
    ? new Unavailable(why, { ...outcome.fields, cause: outcome.error })
    : new Unavailable(why, { cause: outcome.cause });
}

/**
 * Sleep; rejects with the signal's reason when it is aborted.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const wake = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", wake);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", wake, { once: true });
  });
}

/**
 * Return the error code behind a failed fetch; only Node has one.
 *
 * @param {any} error
 * @returns {string}
 */
function codeOf(error) {
  const cause = error?.cause ?? error;
  // An AggregateError, if the host has several addresses.
  return String(cause?.code ?? cause?.errors?.[0]?.code ?? "");
}

/** @param {any} error */
function reasonOf(error) {
  const cause = error?.cause ?? error;
  return cause?.message || cause?.code || String(cause);
}

/**
 * Return the body of a successful response, or throw its error.
 *
 * @param {Answer} answer
 * @returns {Record<string, any>} The whole body: `payload` and its siblings.
 */
export function successBody(answer) {
  if (!answer.ok) throw answer.error;
  return answer.body;
}
