/**
 * Error classes. Each problem `type` in docs/reference/errors.md has a class of the same name.
 *
 *     Error
 *     └── HeadwaterError
 *         ├── Invalid
 *         │   ├── RequestInvalid
 *         │   ├── ParametersInvalid
 *         │   ├── SchemaInvalid
 *         │   ├── UploadBroken
 *         │   ├── VersionForgotten
 *         │   └── EventForgotten
 *         ├── DocumentInvalid
 *         ├── Conflict
 *         │   ├── TaskClosed
 *         │   ├── TaskRemoved
 *         │   ├── TaskPurged
 *         │   ├── RunSettled
 *         │   ├── NothingToPublish
 *         │   ├── NoLogin
 *         │   ├── LoginUnfinished
 *         │   ├── LoginUnusable
 *         │   ├── StreamTaken
 *         │   ├── InUse
 *         │   ├── WebhookDisabled
 *         │   ├── MovedMeanwhile
 *         │   └── UploadInFlight
 *         ├── TooLarge
 *         │   ├── UploadTooLarge
 *         │   ├── DocumentTooLarge
 *         │   ├── RequestTooLarge
 *         │   └── HeaderTooLarge
 *         ├── RequestTimedOut
 *         ├── NotUnderstood
 *         │   ├── ContentTypeUnknown
 *         │   └── EncodingUnknown
 *         ├── NotAuthenticated
 *         ├── NotAllowed
 *         ├── OriginNotAllowed
 *         ├── NotFound
 *         ├── MethodNotAllowed
 *         ├── VersionMismatch
 *         ├── KeyReused
 *         ├── Internal
 *         ├── NoRoom
 *         ├── SegmentDamaged
 *         ├── Unavailable          also: gave up after retrying for `retryFor` seconds
 *         ├── TaskAlreadyRunning   no task was started: the crawler has an open one
 *         ├── TaskGone             a writer's task was deleted, stopped or retried
 *         ├── DocumentRejected     a writer's upload was refused because of a document
 *         ├── NotJson              a document cannot be written as JSON; nothing was sent
 *         ├── Unsendable           an id or other value cannot be sent in a request; nothing was sent
 *         └── WriterClosed         a writer was used after it was closed
 */

/** @typedef {import("./types.js").Fault} Fault */
/** @typedef {import("./types.js").Task} Task */

/**
 * Fields of an error response; all are absent if the error did not come from a response.
 *
 * @typedef {object} ProblemFields
 * @property {number | null} [status] HTTP status.
 * @property {string | null} [type] The problem's `type`.
 * @property {string | null} [title] The kind of error, human-readable.
 * @property {string | null} [detail] What happened, to what, and how to fix it.
 * @property {string[]} [messages] The individual errors, one line each.
 * @property {Fault[]} [errors] The individual errors, structured; at most 100.
 * @property {string | null} [requestId] The request's id in the server's log.
 * @property {unknown} [cause] The underlying error.
 */

/** Base class of all errors of this package. */
export class HeadwaterError extends Error {
  /**
   * @param {string} message Human-readable.
   * @param {ProblemFields} [fields]
   */
  constructor(message, fields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    /** HTTP status; null if there was no response. */
    this.status = fields.status ?? null;
    /** The problem's `type`, a URL that never changes its meaning; null if the response was not Headwater's. */
    this.type = fields.type ?? null;
    /** The kind of error, human-readable. */
    this.title = fields.title ?? null;
    /** What happened, to what, and how to fix it. */
    this.detail = fields.detail ?? message;
    /** The individual errors, one line each. */
    this.messages = fields.messages ?? [];
    /** The individual errors, structured; at most 100. */
    this.errors = fields.errors ?? [];
    /** The request's id in the server's log. */
    this.requestId = fields.requestId ?? null;
  }
}

/** The request is invalid. */
export class Invalid extends HeadwaterError {}
/** Request is invalid. */
export class RequestInvalid extends Invalid {}
/** Parameters do not fit the External. */
export class ParametersInvalid extends Invalid {}
/** External's definition is invalid. */
export class SchemaInvalid extends Invalid {}
/** Upload is not newline-delimited JSON. */
export class UploadBroken extends Invalid {}
/** Stream version has been purged. */
export class VersionForgotten extends Invalid {}
/** Events have been purged. */
export class EventForgotten extends Invalid {}
/** Document is invalid. */
export class DocumentInvalid extends HeadwaterError {}
/** The object's state does not allow this. */
export class Conflict extends HeadwaterError {}
/** Task is closed. */
export class TaskClosed extends Conflict {}
/** Task is deleted. */
export class TaskRemoved extends Conflict {}
/** Task's documents are purged. */
export class TaskPurged extends Conflict {}
/** Run is settled. */
export class RunSettled extends Conflict {}
/** Task has nothing to publish. */
export class NothingToPublish extends Conflict {}
/** The External does not use OAuth. */
export class NoLogin extends Conflict {}
/** Login at the crawler is not finished. */
export class LoginUnfinished extends Conflict {}
/** The crawler's OAuth service returned an unusable response. */
export class LoginUnusable extends Conflict {}
/** Stream already has a crawler. */
export class StreamTaken extends Conflict {}
/** Object is in use. */
export class InUse extends Conflict {}
/** Webhook is disabled. */
export class WebhookDisabled extends Conflict {}
/** Object was changed concurrently. */
export class MovedMeanwhile extends Conflict {}
/** An upload with this Idempotency-Key is still in progress. */
export class UploadInFlight extends Conflict {}
/** The request exceeds a limit. */
export class TooLarge extends HeadwaterError {}
/** Upload is over its limit. */
export class UploadTooLarge extends TooLarge {}
/** Document is over its limit. */
export class DocumentTooLarge extends TooLarge {}
/** Request body is over its limit. */
export class RequestTooLarge extends TooLarge {}
/** Request header is over its limit. */
export class HeaderTooLarge extends TooLarge {}
/** Request did not arrive in time. */
export class RequestTimedOut extends HeadwaterError {}
/** Unsupported content type or encoding. */
export class NotUnderstood extends HeadwaterError {}
/** Content type is not supported. */
export class ContentTypeUnknown extends NotUnderstood {}
/** Content encoding is not supported. */
export class EncodingUnknown extends NotUnderstood {}
/** Key or token is missing or wrong. */
export class NotAuthenticated extends HeadwaterError {}
/** Key lacks the scope for this. */
export class NotAllowed extends HeadwaterError {}
/** Pages of this origin may not call this. */
export class OriginNotAllowed extends HeadwaterError {}
/** Object does not exist. */
export class NotFound extends HeadwaterError {}
/** Method is not allowed here. */
export class MethodNotAllowed extends HeadwaterError {}
/** If-Match does not hold. */
export class VersionMismatch extends HeadwaterError {}
/** Idempotency-Key was used before with another body. */
export class KeyReused extends HeadwaterError {}
/** Internal server error. */
export class Internal extends HeadwaterError {}

/** The server's disk is full. */
export class NoRoom extends HeadwaterError {}
/** Stored documents are damaged (503). */
export class SegmentDamaged extends HeadwaterError {}

/** Headwater is unavailable or unreachable, and still was after `retryFor` seconds. */
export class Unavailable extends HeadwaterError {}
/** The key exceeded its rate limit, and still did after `retryFor` seconds. */
export class TooManyRequests extends Unavailable {}
/** The task has too many concurrent uploads, and still had after `retryFor` seconds. */
export class TooManyUploads extends Unavailable {}

/** The crawler has an open task, so no task was started. */
export class TaskAlreadyRunning extends HeadwaterError {
  /** @param {Task} task The open one. */
  constructor(task) {
    super(`task ${task.fid} of crawler ${task.crawler} is still open; stop it, or wait for its end`, { status: 208 });
    /** The open task. */
    this.task = task;
  }
}

/** The task was deleted, stopped or retried: the crawler should stop. */
export class TaskGone extends HeadwaterError {}

/** An upload was rejected because of a document; none of its documents were stored. */
export class DocumentRejected extends HeadwaterError {
  /**
   * @param {string} message
   * @param {ProblemFields & {document?: unknown}} [fields]
   */
  constructor(message, fields = {}) {
    super(message, fields);
    const [first] = this.errors;
    /** The document, as uploaded; undefined if the response names no line. */
    this.document = fields.document;
    /** Its line in the upload, counted from 1; null if the response names none. */
    this.line = first?.line ?? null;
    /** JSON pointer to the invalid part of the document. */
    this.pointer = first?.pointer ?? null;
    this.detail = first?.detail ?? this.detail;
  }
}

/** A document cannot be written as JSON without loss; it was not sent. */
export class NotJson extends HeadwaterError {
  /**
   * @param {string} detail What is wrong with the value.
   * @param {string} pointer JSON pointer to the value.
   * @param {unknown} document
   * @param {unknown} [cause]
   */
  constructor(detail, pointer, document, cause) {
    super(pointer === "" ? detail : `${pointer}: ${detail}`, { detail, cause });
    /** JSON pointer to the invalid part of the document. */
    this.pointer = pointer;
    /** The document. */
    this.document = document;
  }
}

/** A value cannot be sent in a request; nothing was sent. */
export class Unsendable extends HeadwaterError {}

/** The writer is closed. */
export class WriterClosed extends HeadwaterError {}
