/** HTTP calls authorized by an API key. */

import { bearer, httpUrl } from "./endpoint.js";
import { exactlyParsed, textOf } from "./json.js";
import { segment, wellFormed } from "./paths.js";
import { NoAnswer, isTransientStatus, retry, send, successBody } from "./transport.js";

/** @typedef {import("./transport.js").Answer} Answer */
/** @typedef {string | number | boolean | null | undefined} Value */
/** @typedef {Record<string, Value | Value[]>} Query */

/** Page size of lists; the server's maximum. */
const MAX_PAGE_SIZE = 1000;

export class Api {
/** Base URL, without a trailing slash. */
  url;
  authorization;
  /** Seconds for which a failed call is retried. */
  retryFor;
  /** Timeout of one attempt, in seconds. */
  timeout;
  /** Parses response bodies. @type {(text: string) => any} */
  parse;

  /**
   * @param {string | URL} url
   * @param {string} key
   * @param {{retryFor: number, timeout: number, exactIntegers?: boolean}} how
   */
  constructor(url, key, { retryFor, timeout, exactIntegers = false }) {
    const { origin, pathname } = httpUrl(url);
    this.url = origin + pathname.replace(/\/+$/, "");
    this.authorization = bearer(key);
    this.retryFor = retryFor;
    this.timeout = timeout;
    this.parse = exactIntegers ? exactlyParsed : JSON.parse;
  }

  /**
   * Make a call. It is retried while the failure is transient and repeating it is safe.
   *
   * @param {"GET" | "POST" | "PUT" | "DELETE"} method
   * @param {string[]} path Path segments, not yet URL-encoded.
   * @param {{query?: Query, json?: unknown}} [what]
   * @returns {Promise<{status: number, body: Record<string, any>}>}
   */
  async call(method, path, { query = {}, json } = {}) {
    const headers = new Headers({ Authorization: this.authorization });
    if (json !== undefined) headers.set("Content-Type", "application/json");
    const url = this.address(path, query);
    const text = textOf(json);
    const { timeout, parse } = this;
    const request = { method, url, headers, timeout, parse, ...(text === undefined ? {} : { body: text }) };
    const again = method === "POST" ? hadNoEffect : isTransient;
    const answer = await retry(() => send(request), { again, retryFor: this.retryFor });
    return { status: answer.status, body: successBody(answer) };
  }

  /**
   * Iterate over a list, fetching page after page.
   *
   * @param {string[]} path
   * @param {Query} query
   * @returns {AsyncGenerator<any, void, undefined>}
   */
  async *pages(path, { limit = MAX_PAGE_SIZE, ...query }) {
    let cursor = null;
    do {
      /** @type {{body: Record<string, any>}} */
      const { body } = await this.call("GET", path, { query: { ...query, limit, cursor } });
      yield* body["payload"];
      cursor = body["next_cursor"];
    } while (cursor);
  }

  /**
   * @param {string[]} path
   * @param {Query} [query] Null and undefined are omitted; an array repeats its parameter.
   */
  address(path, query = {}) {
    const search = new URLSearchParams();
    for (const [name, values] of Object.entries(query)) {
      for (const value of Array.isArray(values) ? values : [values]) {
        if (value !== null && value !== undefined) search.append(name, wellFormed(value));
      }
    }
    return `${this.url}/${path.map(segment).join("/")}${search.size > 0 ? `?${search}` : ""}`;
  }
}

/** @param {Answer | NoAnswer} failure */
function isTransient(failure) {
  return failure instanceof NoAnswer || isTransientStatus(failure);
}

/**
 * Whether a call certainly had no effect, so that even a POST may be retried.
 *
 * @param {Answer | NoAnswer} failure
 */
function hadNoEffect(failure) {
  if (failure instanceof NoAnswer) return failure.neverConnected;
  return failure.status === 429 || failure.status === 503;
}
