/** The event feed. */

import { followed } from "./event_stream.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").HeadwaterEvent} HeadwaterEvent */

/**
 * @typedef {object} EventOptions
 * @property {string | {fid: string}} [stream] Only events about this stream.
 * @property {string | {fid: string}} [crawler] Likewise.
 * @property {string | {fid: string}} [task] Likewise.
 * @property {string | string[]} [type] Only these types: `task.done`, or `task` for all types with that prefix.
 * @property {string | Date} [since] Only events since this time, including retained ones.
 * @property {number} [lastEventId] Start after this event; 0 = oldest retained.
 * @property {boolean} [follow] False: yield the retained events, oldest first, and end.
 * @property {AbortSignal} [signal] Ends the iteration by throwing its reason.
 */

/**
 * @param {Api} api
 * @param {EventOptions} options
 * @returns {AsyncGenerator<HeadwaterEvent, void, undefined>}
 */
export function events(api, { stream, crawler, task, type, since, lastEventId, follow = true, signal } = {}) {
  const query = {
    stream: fidOf(stream),
    crawler: fidOf(crawler),
    task: fidOf(task),
    type,
    since: since instanceof Date ? since.toISOString() : since,
  };
  if (!follow) return api.pages(["events"], { ...query, feed: "normal", last_event_id: lastEventId });
  return followed(api, api.address(["events"], query), lastEventId?.toString(), signal);
}

/** @param {string | {fid: string} | undefined} ref */
function fidOf(ref) {
  return typeof ref === "object" ? ref.fid : ref;
}
