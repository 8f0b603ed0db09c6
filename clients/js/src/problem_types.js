/** Maps problem types (RFC 9457) of error responses to error classes. */

import * as errors from "./errors.js";

// Set explicitly, because minifiers change `constructor.name`.
for (const [name, kind] of Object.entries(errors)) {
  Object.defineProperty(kind.prototype, "name", { value: name, configurable: true, writable: true });
}

/** Classes without a problem type: base classes, and errors that the client itself detects. */
const WITHOUT_TYPE = new Set([
  "HeadwaterError",
  "Invalid",
  "Conflict",
  "TooLarge",
  "NotUnderstood",
  "TaskAlreadyRunning",
  "TaskGone",
  "DocumentRejected",
  "NotJson",
  "Unsendable",
  "WriterClosed",
]);

/**
 * Classes by the last segment of the `type`: DocumentInvalid is `document-invalid`.
 *
 * @type {Map<string, typeof errors.HeadwaterError>}
 */
const BY_SLUG = new Map();
for (const [name, kind] of Object.entries(errors)) {
  const slug = name.replace(/(?<!^)[A-Z]/g, "-$&").toLowerCase();
  if (!WITHOUT_TYPE.has(name)) BY_SLUG.set(slug, /** @type {typeof errors.HeadwaterError} */ (kind));
}

/** Fallback for types that this version does not know. @type {Map<number, typeof errors.HeadwaterError>} */
const BY_STATUS = new Map([
  [400, errors.Invalid],
  [401, errors.NotAuthenticated],
  [403, errors.NotAllowed],
  [404, errors.NotFound],
  [405, errors.MethodNotAllowed],
  [406, errors.DocumentInvalid],
  [408, errors.RequestTimedOut],
  [409, errors.Conflict],
  [412, errors.VersionMismatch],
  [413, errors.TooLarge],
  [415, errors.NotUnderstood],
  [429, errors.Unavailable],
  [431, errors.TooLarge],
  [500, errors.Internal],
  [507, errors.NoRoom],
  [503, errors.Unavailable],
]);

/**
 * Return the class of a problem: by its `type`, or else the base class for its status.
 *
 * @param {number} status
 * @param {string | null} type
 */
export function kindOf(status, type) {
  return BY_SLUG.get(slugOf(type)) ?? BY_STATUS.get(status) ?? errors.HeadwaterError;
}

/**
 * Return the last segment of a problem's `type`, such as `task-closed`.
 *
 * @param {string | null} type
 */
export function slugOf(type) {
  return (type ?? "").replace(/^.*\//, "");
}
