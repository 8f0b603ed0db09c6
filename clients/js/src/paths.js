/** Encoding of ids in URL paths, safe against path traversal. */

import { Unsendable } from "./errors.js";

/** Document ids that no browser, proxy or server rewrites in a path. */
const PLAIN_ID = /^[A-Za-z0-9_~-][A-Za-z0-9_.~-]*$/;

/** A lone surrogate. */
const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Return a fid as a path segment.
 *
 * @param {string} value
 * @throws {Unsendable} It would change the path: `fetch` resolves `..`, and servers decode `%2F`.
 */
export function segment(value) {
  const text = wellFormed(value);
  if (text === "" || text === "." || text === ".." || /[/\\]/.test(text)) {
    throw new Unsendable(`${JSON.stringify(text)} is not a fid; a fid is 32 hex digits`);
  }
  return encodeURIComponent(text);
}

/**
 * Return path and query of a call about a document: a plain id goes into the path, any other into the query.
 *
 * @param {string} stream
 * @param {string} id
 * @param {string[]} [suffix] Segments after the id.
 * @returns {{path: string[], query: Record<string, string>}}
 */
export function documentPath(stream, id, suffix = []) {
  if (PLAIN_ID.test(id) && id !== "history") return { path: ["streams", stream, "docs", id, ...suffix], query: {} };
  return { path: ["streams", stream, "doc", ...suffix], query: { id } };
}

/**
 * Return a value as a string.
 *
 * @param {unknown} value
 * @throws {Unsendable} It contains a lone surrogate, which would be sent as U+FFFD.
 */
export function wellFormed(value) {
  const text = String(value);
  if (HALF.test(text)) {
    throw new Unsendable(`${JSON.stringify(text)} holds half of a surrogate pair, which is no character`);
  }
  return text;
}
