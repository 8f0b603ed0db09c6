/**
 * The objects of the API, as they come in answers.
 *
 * @typedef {object} Fault
 * One thing that is wrong with what was sent.
 * @property {string} detail What is wrong, in one sentence.
 * @property {string} [pointer] A JSON pointer into the body or the document; a query parameter is `?name`.
 * @property {string} [keyword] The JSON Schema keyword, or the rule, that failed.
 * @property {string} [schema_pointer] A JSON pointer into the schema.
 * @property {number} [line] The line of the upload, from 1.
 * @property {number} [offset] The byte of the decompressed upload, from 0.
 * @property {string} [doc_id] The document's id, where it could be told.
 *
 * @typedef {"new" | "running" | "done" | "failed" | "timed_out" | "stopped"} TaskState
 *
 * @typedef {object} Task
 * One run of a crawler: a change set on its stream.
 * @property {string} fid
 * @property {"tasks"} type
 * @property {number} version
 * @property {string} created_at
 * @property {string} updated_at
 * @property {Record<string, any>} meta
 * @property {string} crawler
 * @property {string} stream
 * @property {string} external
 * @property {number} external_version
 * @property {Record<string, any>} params Passwords read as `********`.
 * @property {number} attempt 1, 2, …: each retry is a new attempt.
 * @property {string} origin
 * @property {number} code 0 new, 102 running, 200 done, 408 timed out, 410 stopped, other 4xx and 5xx failed.
 * @property {TaskState} state
 * @property {string | null} reason Why it ended, `gate_failed` if well and unpublished; null while it is open.
 * @property {string | null} message What its crawler said last, for people.
 * @property {any} detail What it said beside it.
 * @property {number} docs Documents of the present attempt.
 * @property {number} bytes Their size, decompressed.
 * @property {number} uploads
 * @property {number} rejected
 * @property {string} started_at
 * @property {string | null} heard_at
 * @property {string | null} deadline
 * @property {string | null} ended_at
 * @property {string | null} [retry_at] When it is retried by itself.
 * @property {string | null} removed_at Set while its documents are removed from the stream.
 * @property {{added: number, changed: number, unchanged: number, removed: number} | null} [summary]
 *
 * @typedef {{endpoint: string, token: string}} UploadTarget
 * Where a script uploads, and with what.
 *
 * @typedef {Task & {upload: UploadTarget | null, alreadyRunning: boolean}} BegunTask
 * `upload` is there for a push External, in the answer that began the task and in no other. `alreadyRunning`: nothing
 * was begun, because the crawler has an open task, and it is this one.
 *
 * @typedef {{removed: number, restored: number, unaffected: number}} Deletion
 * What deleting a task would do: documents that would be gone, that an older version would take the place of, and
 * that a newer task's version covers anyway.
 *
 * @typedef {object} Stream
 * @property {string} fid
 * @property {"streams"} type
 * @property {number} version
 * @property {string} created_at
 * @property {string} updated_at
 * @property {Record<string, any>} meta
 * @property {number} stream_version Grows with each change of what the stream shows.
 * @property {number} docs Documents that it shows, as of `docs_version`.
 * @property {number} docs_version
 * @property {StreamStatus | null} status How its crawler's latest task stands.
 *
 * @typedef {Pick<Task, "code" | "state" | "message" | "detail"> & {task: string, at: string}} StreamStatus
 *
 * @typedef {{id: string, task: string, doc: Record<string, any>}} StreamDocument
 * A document that a stream shows, and the task that wrote it.
 *
 * @typedef {object} HeadwaterEvent
 * Something that has changed.
 * @property {number} id Its place among all events.
 * @property {string} at
 * @property {string} type What happened: `task.done`, `stream.changed`, …
 * @property {string | null} stream What it is about, or what that belongs to; likewise the others.
 * @property {string | null} crawler
 * @property {string | null} external
 * @property {string | null} task
 * @property {Record<string, any>} data What is worth knowing without asking.
 *
 * @typedef {{count: number, total: number, bytes: number}} Receipt
 * What an upload was answered: its documents, those of the attempt so far, and its size decompressed.
 */

export {};
