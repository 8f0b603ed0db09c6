/** One request and its answer, and the same again for as long as that makes sense. */

import { Unavailable } from "./errors.js";
import { kindOf } from "./problems.js";

/** Seconds before the second try; doubled before each one after it. */
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 30;

/** What Node calls a connection that never came about, so that nothing can have been sent. */
const NEVER_CONNECTED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/**
 * For a body that is a stream. With any other `redirect` and `window`, Node's fetch keeps a copy of all that it sends.
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
 * @property {AbortSignal | undefined} [signal] Breaks it off.
 * @property {number | null} timeout Seconds for the whole of it; null for no end.
 */

/** An answer, read to its end. */
export class Answer {
  /**
   * @param {Response} response
   * @param {string} text Its body.
   */
  constructor(response, text) {
    this.status = response.status;
    /** Whether it is a success of Headwater, and not only of something on the way. */
    this.ok = false;
    /** Seconds before which it is not to be tried again; 0 if the answer does not say. */
    this.retryAfter = secondsIn(response.headers.get("Retry-After"), Date.now());
    /** @type {Record<string, any>} */
    this.body = {};
    try {
      const body = JSON.parse(text);
      if (typeof body === "object" && body !== null) this.body = body;
      this.ok = response.ok && this.body["success"] === true;
    } catch {
      // Not Headwater's, but that of a proxy before it.
    }
  }

  /** The problem's `type`; null if the answer holds none. */
  get type() {
    return typeof this.body["type"] === "string" ? this.body["type"] : null;
  }

  /** What a refusal tells, as members of an error. */
  get told() {
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

  /** What it says, in one sentence. */
  get message() {
    const { detail, messages } = this.told;
    if (detail === null) return `the answer was ${this.status}, and not one of Headwater's`;
    const [first] = messages;
    return first === undefined || first === detail ? detail : `${detail} (${first})`;
  }

  /** The error that it is. */
  get error() {
    // A 2xx that is not Headwater's comes here too, and has no kind.
    return new (kindOf(this.status, this.type))(this.message, this.told);
  }
}

/** No answer came: the connection was refused, or broke, or it took too long. */
export class NoAnswer extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super(`Headwater cannot be reached: ${reasonOf(cause)}`, { cause });
    /** Whether it is certain that nothing was sent. */
    this.neverConnected = NEVER_CONNECTED.has(codeOf(cause));
  }
}

/**
 * Send a request once.
 *
 * @param {Request} request
 * @returns {Promise<Answer>}
 * @throws {NoAnswer} None came.
 * @throws The reason of the signal, if it was aborted.
 */
export async function send({ method, url, headers, body, signal, timeout }) {
  signal?.throwIfAborted();
  // Not AbortSignal.any and AbortSignal.timeout: a writer sends thousands of requests under one signal, and each
  // should leave nothing behind.
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
      // Followed, a POST may become a GET.
      redirect: "manual",
      ...(body instanceof ReadableStream ? STREAMED : {}),
    });
    return new Answer(response, await response.text());
  } catch (error) {
    signal?.throwIfAborted();
    throw new NoAnswer(error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * Try until it succeeds, or until trying again makes no sense.
 *
 * @param {() => Promise<Answer>} attempt
 * @param {object} how
 * @param {(failure: Answer | NoAnswer) => boolean} how.again Whether a failure may pass.
 * @param {number} how.patience Seconds for which it is tried again, from the first try on.
 * @param {AbortSignal | undefined} [how.signal] Ends the pauses.
 * @returns {Promise<Answer>} A success, or an answer after which `again` wants no other try.
 * @throws {Unavailable} Patience ran out, or there was no answer.
 */
export async function persist(attempt, { again, patience, signal }) {
  const begun = performance.now();
  for (let tries = 1; ; tries += 1) {
    const outcome = await attempt().catch((error) => {
      if (error instanceof NoAnswer) return error;
      throw error;
    });
    if (outcome instanceof Answer && (outcome.ok || !again(outcome))) return outcome;
    const left = patience - (performance.now() - begun) / 1000;
    const asked = outcome instanceof Answer ? outcome.retryAfter : 0;
    if (!again(outcome) || left <= 0 || asked > left) throw gaveUp(outcome, tries);
    await rest(Math.min(pauseAfter(tries, asked, Math.random()), left), signal);
  }
}

/**
 * Return for how many seconds to wait before the next try.
 *
 * @param {number} tries How many there were.
 * @param {number} asked Seconds that `Retry-After` asked for.
 * @param {number} dice From 0 to 1; clients that failed together shall not come back together.
 */
export function pauseAfter(tries, asked, dice) {
  const pause = Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE);
  return Math.max(pause * (1 - dice / 2), asked);
}

/**
 * Return the seconds that a `Retry-After` asks for; 0 if it asks for nothing that can be understood.
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
 * Whether an answer says that it may be another one later: 429, and 5xx.
 *
 * @param {Answer} answer
 */
export function mayPass(answer) {
  return answer.status === 429 || answer.status >= 500;
}

/**
 * @param {Answer | NoAnswer} outcome
 * @param {number} tries
 */
function gaveUp(outcome, tries) {
  const why = tries === 1 ? outcome.message : `gave up after ${tries} tries: ${outcome.message}`;
  return outcome instanceof Answer
    ? new Unavailable(why, { ...outcome.told, cause: outcome.error })
    : new Unavailable(why, { cause: outcome.cause });
}

/**
 * Wait; rejects with the signal's reason when it is aborted.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
export function rest(seconds, signal) {
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
 * Return the code of what lies at the ground of a failed fetch. Only Node tells it.
 *
 * @param {any} error
 * @returns {string}
 */
function codeOf(error) {
  const cause = error?.cause ?? error;
  // A host with several addresses has one error for each.
  return String(cause?.code ?? cause?.errors?.[0]?.code ?? "");
}

/** @param {any} error */
function reasonOf(error) {
  const cause = error?.cause ?? error;
  return cause?.message || cause?.code || String(cause);
}

/**
 * Take what an answer was asked for, or raise the error that it is.
 *
 * @param {Answer} answer
 * @returns {Record<string, any>} The whole body: `payload`, and what stands beside it.
 */
export function taken(answer) {
  if (!answer.ok) throw answer.error;
  return answer.body;
}
