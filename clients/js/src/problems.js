/** Which class an error of the wire becomes. */

import * as errors from "./errors.js";

// Written out, because a bundler that shortens the names of classes shortens `constructor.name` with them.
for (const [name, kind] of Object.entries(errors)) {
  Object.defineProperty(kind.prototype, "name", { value: name, configurable: true, writable: true });
}

/** The classes that are no `type` of a problem: families, and what a client finds by itself. */
const UNTOLD = new Set([
  "HeadwaterError",
  "Invalid",
  "Conflict",
  "TooLarge",
  "NotUnderstood",
  "TaskAlreadyRunning",
  "TaskGone",
  "DocumentRejected",
  "NotJson",
  "WriterClosed",
]);

/**
 * By the last part of the `type`: DocumentInvalid is `document-invalid`.
 *
 * @type {Map<string, typeof errors.HeadwaterError>}
 */
const BY_SLUG = new Map();
for (const [name, kind] of Object.entries(errors)) {
  const slug = name.replace(/(?<!^)[A-Z]/g, "-$&").toLowerCase();
  if (!UNTOLD.has(name)) BY_SLUG.set(slug, /** @type {typeof errors.HeadwaterError} */ (kind));
}

/** For a `type` that this version does not know. @type {Map<number, typeof errors.HeadwaterError>} */
const BY_STATUS = new Map([
  [400, errors.Invalid],
  [401, errors.NotAuthenticated],
  [403, errors.NotAllowed],
  [404, errors.NotFound],
  [405, errors.MethodNotAllowed],
  [406, errors.DocumentInvalid],
  [409, errors.Conflict],
  [412, errors.VersionMismatch],
  [413, errors.TooLarge],
  [415, errors.NotUnderstood],
  [429, errors.Unavailable],
  [500, errors.Internal],
  [503, errors.Unavailable],
]);

/**
 * Return the class for a problem: the one of its `type`, or the family of its status.
 *
 * @param {number} status
 * @param {string | null} type
 */
export function kindOf(status, type) {
  return BY_SLUG.get(slugOf(type)) ?? BY_STATUS.get(status) ?? errors.HeadwaterError;
}

/**
 * Return the last part of a problem's `type`: `task-closed`.
 *
 * @param {string | null} type
 */
export function slugOf(type) {
  return (type ?? "").replace(/^.*\//, "");
}
