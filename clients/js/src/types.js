/**
 * The objects of the API, as they appear in responses.
 *
 * @typedef {object} Fault
 * One error in a request or document.
 * @property {string} detail What is wrong, in one sentence.
 * @property {string} [pointer] JSON pointer into the body or the document; `?name` for a query parameter.
 * @property {string} [keyword] The JSON Schema keyword, or the rule, that failed.
 * @property {string} [schema_pointer] JSON pointer into the schema.
 * @property {number} [line] Line of the upload, counted from 1.
 * @property {number} [offset] Byte offset in the decompressed upload, from 0.
 * @property {string} [doc_id] The document's id, if known.
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
 * @property {"merge" | "snapshot"} mode `snapshot`: once it ended with 200, the stream shows nothing of earlier runs.
 * @property {string[] | null} scope Conditions on the documents that a snapshot may hide; null: all.
 * @property {number} attempt 1, 2, …: each retry is a new attempt.
 * @property {string} origin
 * @property {number} code 0 new, 102 running, 200 done, 408 timed out, 410 stopped, other 4xx and 5xx failed.
 * @property {TaskState} state
 * @property {string | null} reason Why it ended; `gate_failed` if it succeeded but was not published; null while open.
 * @property {string | null} message Its crawler's last status message.
 * @property {any} detail The detail of that status, any JSON.
 * @property {number} docs Documents of the current attempt.
 * @property {number} bytes Their uncompressed size.
 * @property {number} uploads
 * @property {number} rejected
 * @property {number} deleted Documents that the attempt deleted by `TaskWriter.delete`.
 * @property {string} started_at
 * @property {string | null} heard_at
 * @property {string | null} deadline
 * @property {string | null} ended_at
 * @property {number | null} duration Seconds from start to end; null while it is open.
 * @property {string | null} [retry_at] Time of the next automatic retry.
 * @property {string | null} removed_at Set while its documents are removed from the stream.
 * @property {{added: number, changed: number, unchanged: number, removed: number} | null} [summary]
 *
 * @typedef {{endpoint: string, token: string}} UploadTarget
 * A push task's upload endpoint and token.
 *
 * @typedef {Task & {upload: UploadTarget | null, alreadyRunning: boolean}} BegunTask
 * `upload` is set for a push External, and only in the response that started the task. `alreadyRunning`: no task was
 * started, because the crawler has an open task, which is this one.
 *
 * @typedef {{removed: number, restored: number, unaffected: number}} Deletion
 * What deleting a task would do: documents that would disappear, documents that would revert to an older version, and
 * documents unaffected because a newer task has overwritten them.
 *
 * @typedef {object} Stream
 * @property {string} fid
 * @property {"streams"} type
 * @property {number} version
 * @property {string} created_at
 * @property {string} updated_at
 * @property {Record<string, any>} meta
 * @property {number} stream_version Increases with each change of the stream's documents.
 * @property {number} docs Number of current documents, as of `docs_version`.
 * @property {number} docs_version
 * @property {StreamStatus | null} status Status of its crawler's latest task.
 *
 * @typedef {Pick<Task, "code" | "state" | "message" | "detail"> & {task: string, at: string}} StreamStatus
 *
 * @typedef {{id: string, task: string, doc: Record<string, any>}} StreamDocument
 * A current document of a stream, and the task that wrote it.
 *
 * @typedef {object} DocumentVersion
 * A retained version of a document.
 * @property {string} task
 * @property {number} attempt
 * @property {number | null} external_version
 * @property {Record<string, any> | null} params
 * @property {string} written_at
 * @property {string} standing `shown`, `covered`, `removed`, `replaced`, `dropped`, `deleted`, `waiting` or `unpublished`.
 * @property {boolean} shows
 * @property {"upsert" | "delete"} op
 * @property {Record<string, any> | null} doc Null in a deletion.
 *
 * @typedef {object} MatchChange
 * A change of which documents match: what an attempt brought, or another change of the stream.
 * @property {number} version The first stream version that changed which documents match.
 * @property {number} until The last one.
 * @property {string} at
 * @property {string} change `upload`, `replay`, `publish`, `replace`, `withhold`, `remove` or `restore`.
 * @property {string | null} task
 * @property {number | null} attempt
 * @property {string[] | null} tasks Those that were deleted or restored together.
 * @property {number} brought Documents that did not match before, and did then.
 * @property {number} removed Documents that matched before, and did not then.
 *
 * @typedef {object} Bisected
 * When documents of a stream matched.
 * @property {number} since The stream version from which on changes were looked at.
 * @property {number} stream_version The one up to which they were.
 * @property {number} before Documents that matched at `since`.
 * @property {number} docs Documents that match now.
 * @property {MatchChange | null} first The first change by which a document came to match.
 * @property {MatchChange[]} runs All changes of which documents match, oldest first.
 * @property {boolean} more Whether there are more than `limit`.
 * @property {string[]} to_undo The tasks without which none of the documents that match now would, oldest first.
 * @property {{method: string, path: string, body: Record<string, any>} | null} dry_run
 * The call that tells what undoing them would change.
 *
 * @typedef {object} PlannedFile
 * A file of a plan.
 * @property {string} location
 * @property {number} size In bytes.
 * @property {number} rows
 *
 * @typedef {PlannedFile & {task: string | null, deletes: PlannedFile | null}} PlannedSegment
 * A Parquet file with the columns `doc_id`, `doc` and, if `task` is null, `task`. The column `pos` of the file `deletes`
 * has the positions of the rows that do not show; null if all do.
 *
 * @typedef {{after: string | null, upto: string | null, segments: PlannedSegment[]}} PlannedRange
 * The documents with ids after `after`, up to `upto`, inclusive; null is unbounded.
 *
 * @typedef {object} Plan
 * A version of a stream as files, cut into ranges.
 * @property {number} version The stream version.
 * @property {number} docs How many documents it shows.
 * @property {string} warehouse How locations are to be read: `headwater`, `local` or `store`.
 * @property {Record<string, string>} config Endpoint and credentials for that, by the names of Iceberg.
 * @property {string} expires_at Until when the files can be read.
 * @property {PlannedRange[]} ranges In the order of ids.
 *
 * @typedef {object} HeadwaterEvent
 * An event of the event feed.
 * @property {number} id Its sequence number.
 * @property {string} at
 * @property {string} type Event type: `task.done`, `stream.changed`, …
 * @property {string | null} stream The stream concerned; null if none. Likewise the fields below.
 * @property {string | null} crawler
 * @property {string | null} external
 * @property {string | null} task
 * @property {Record<string, any>} data Details of the event.
 *
 * @typedef {{at: string, level: import("./log.js").LogLevel, text: string, [field: string]: any}} LogLine
 * A line of a task's log, with the further fields that its crawler sent.
 *
 * @typedef {{count: number, total: number, bytes: number, deleted?: number}} Receipt
 * The response to an upload: its documents, the attempt's documents so far, and its uncompressed size.
 */

export {};
