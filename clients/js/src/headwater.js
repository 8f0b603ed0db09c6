/** The client for API keys: starts and undoes tasks, reads streams, follows events. */

import { Api } from "./api.js";
import { events } from "./events.js";
import { Streams } from "./streams.js";
import { Tasks } from "./tasks.js";

/**
 * @typedef {object} HeadwaterOptions
 * @property {number} [retryFor] Seconds for which a failed call is retried (30).
 * @property {number} [timeout] Timeout of one attempt, in seconds (120).
 * @property {boolean} [exactIntegers] Whether integers beyond 2^53 in documents and other responses are read as BigInts
 *   (false). Otherwise they become numbers, as with `JSON.parse`, and silently lose precision.
 */

/** A client for one Headwater server and API key. */
export class Headwater {
  #api;
  /** Runs of crawlers. @readonly */
  tasks;
  /** Streams and their documents. @readonly */
  streams;

  /**
   * @param {string | URL} url
   * @param {string} key
   * @param {HeadwaterOptions} [options]
   */
  constructor(url, key, { retryFor = 30, timeout = 120, exactIntegers = false } = {}) {
    const api = new Api(url, key, { retryFor, timeout, exactIntegers });
    this.#api = api;
    this.tasks = new Tasks(api);
    this.streams = new Streams(api);
  }

  /**
   * Follow the event feed: yields each event once and in order, from now on, without end. Reconnects after broken
   * connections and server restarts without missing events. To resume later, pass the last event's `id` as
   * `lastEventId`.
   *
   * @param {import("./events.js").EventOptions} [options]
   * @returns {AsyncGenerator<import("./types.js").HeadwaterEvent, void, undefined>}
   */
  events(options = {}) {
    return events(this.#api, options);
  }
}
