/**
 * What can go wrong. Each `type` of docs/reference/errors.md has the class that bears its name.
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
 *         │   └── RequestTooLarge
 *         ├── NotUnderstood
 *         │   ├── ContentTypeUnknown
 *         │   └── EncodingUnknown
 *         ├── NotAuthenticated
 *         ├── NotAllowed
 *         ├── NotFound
 *         ├── MethodNotAllowed
 *         ├── VersionMismatch
 *         ├── KeyReused
 *         ├── Internal
 *         ├── Unavailable          also: gave up after trying for long enough
 *         ├── TaskAlreadyRunning   a task was to begin, and the crawler has an open one
 *         ├── TaskGone             a writer's task was deleted, stopped or retried
 *         ├── DocumentRejected     a writer's upload was refused because of a document
 *         ├── NotJson              a document cannot be JSON; nothing was sent
 *         └── WriterClosed         a writer was used after it was closed
 */

/** @typedef {import("./types.js").Fault} Fault */
/** @typedef {import("./types.js").Task} Task */

/**
 * What an answer told of an error; all of it may be absent, since not each error is an answer.
 *
 * @typedef {object} Told
 * @property {number | null} [status] The status of the answer.
 * @property {string | null} [type] The problem's `type`.
 * @property {string | null} [title] The kind of error, for people.
 * @property {string | null} [detail] What happened, to what, and how to mend it.
 * @property {string[]} [messages] The single faults, one line each.
 * @property {Fault[]} [errors] The single faults for programs, 100 at most.
 * @property {string | null} [requestId] Stands in the server's log too.
 * @property {unknown} [cause] The error behind this one.
 */

/** Headwater cannot do what it was asked, or was not asked well. */
export class HeadwaterError extends Error {
  /**
   * @param {string} message For people.
   * @param {Told} [told]
   */
  constructor(message, told = {}) {
    super(message, told.cause === undefined ? undefined : { cause: told.cause });
    /** The status of the answer; null if there was none. */
    this.status = told.status ?? null;
    /** The problem's `type`, a URL that never changes its meaning; null if the answer was not Headwater's. */
    this.type = told.type ?? null;
    /** The kind of error, for people. */
    this.title = told.title ?? null;
    /** What happened, to what, and how to mend it. */
    this.detail = told.detail ?? message;
    /** The single faults, one line each. */
    this.messages = told.messages ?? [];
    /** The single faults for programs, 100 at most. */
    this.errors = told.errors ?? [];
    /** Stands in the server's log too. */
    this.requestId = told.requestId ?? null;
  }
}

/** What was sent is not what it should be. */
export class Invalid extends HeadwaterError {}
/** Request is invalid. */
export class RequestInvalid extends Invalid {}
/** Parameters do not fit the External. */
export class ParametersInvalid extends Invalid {}
/** External's definition does not hold together. */
export class SchemaInvalid extends Invalid {}
/** Upload is not newline-delimited JSON. */
export class UploadBroken extends Invalid {}
/** Stream version is not kept any more. */
export class VersionForgotten extends Invalid {}
/** Events are not kept any more. */
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
/** Task has nothing to publish. */
export class NothingToPublish extends Conflict {}
/** Nobody logs in at this External's crawler. */
export class NoLogin extends Conflict {}
/** Login at the crawler is not finished. */
export class LoginUnfinished extends Conflict {}
/** Crawler's OAuth service answers what cannot be used. */
export class LoginUnusable extends Conflict {}
/** Stream has a crawler already. */
export class StreamTaken extends Conflict {}
/** Object is in use. */
export class InUse extends Conflict {}
/** Webhook is disabled. */
export class WebhookDisabled extends Conflict {}
/** Object was changed by somebody else in the meantime. */
export class MovedMeanwhile extends Conflict {}
/** An upload with this Idempotency-Key is still under way. */
export class UploadInFlight extends Conflict {}
/** What was sent is over a limit. */
export class TooLarge extends HeadwaterError {}
/** Upload is over its limit. */
export class UploadTooLarge extends TooLarge {}
/** Document is over its limit. */
export class DocumentTooLarge extends TooLarge {}
/** Request body is over its limit. */
export class RequestTooLarge extends TooLarge {}
/** The form in which it was sent is not understood. */
export class NotUnderstood extends HeadwaterError {}
/** Content type is not understood. */
export class ContentTypeUnknown extends NotUnderstood {}
/** Content encoding is not understood. */
export class EncodingUnknown extends NotUnderstood {}
/** Key or token is missing or wrong. */
export class NotAuthenticated extends HeadwaterError {}
/** Key lacks the scope for this. */
export class NotAllowed extends HeadwaterError {}
/** There is no such object. */
export class NotFound extends HeadwaterError {}
/** Method is not allowed here. */
export class MethodNotAllowed extends HeadwaterError {}
/** If-Match does not hold. */
export class VersionMismatch extends HeadwaterError {}
/** Idempotency-Key was used before with another body. */
export class KeyReused extends HeadwaterError {}
/** Headwater failed. */
export class Internal extends HeadwaterError {}

/** Headwater cannot do this right now, or cannot be reached; it was tried as long as it was to be tried. */
export class Unavailable extends HeadwaterError {}
/** The key makes too many requests a minute, and did so as long as it was tried. */
export class TooManyRequests extends Unavailable {}
/** The task has too many uploads under way, and had them as long as it was tried. */
export class TooManyUploads extends Unavailable {}

/** The crawler has an open task, so that none was begun. */
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

/** An upload was refused because of a document; nothing of that upload was kept. */
export class DocumentRejected extends HeadwaterError {
  /**
   * @param {string} message
   * @param {Told & {document?: unknown}} [told]
   */
  constructor(message, told = {}) {
    super(message, told);
    const [first] = this.errors;
    /** The document, as it was uploaded; undefined if the answer named no line. */
    this.document = told.document;
    /** Its line in the upload, from 1; null if the answer named none. */
    this.line = first?.line ?? null;
    /** Where in the document, as a JSON pointer. */
    this.pointer = first?.pointer ?? null;
    this.detail = first?.detail ?? this.detail;
  }
}

/** A document cannot be JSON without losing something; it was not taken, and nothing of it was sent. */
export class NotJson extends HeadwaterError {
  /**
   * @param {string} detail What is wrong with the value.
   * @param {string} pointer Where it stands, as a JSON pointer.
   * @param {unknown} document
   * @param {unknown} [cause]
   */
  constructor(detail, pointer, document, cause) {
    super(pointer === "" ? detail : `${pointer}: ${detail}`, { detail, cause });
    /** Where in the document, as a JSON pointer. */
    this.pointer = pointer;
    /** The document. */
    this.document = document;
  }
}

/** The writer was closed, and takes nothing more. */
export class WriterClosed extends HeadwaterError {}
