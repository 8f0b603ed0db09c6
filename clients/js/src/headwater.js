/** Headwater as somebody with an API key uses it: tasks to start and undo, streams to read. */

import { Api } from "./api.js";
import { events } from "./happenings.js";
import { Streams } from "./streams.js";
import { Tasks } from "./tasks.js";

/**
 * @typedef {object} HeadwaterOptions
 * @property {number} [patience] Seconds for which a call is tried again (30).
 * @property {number} [timeout] Seconds that one try may take (120).
 */

/** A Headwater, and the key with which it is used. */
export class Headwater {
  #api;
  /** Runs of crawlers. @readonly */
  tasks;
  /** What crawlers brought. @readonly */
  streams;

  /**
   * @param {string | URL} url
   * @param {string} key
   * @param {HeadwaterOptions} [options]
   */
  constructor(url, key, { patience = 30, timeout = 120 } = {}) {
    const api = new Api(url, key, { patience, timeout });
    this.#api = api;
    this.tasks = new Tasks(api);
    this.streams = new Streams(api);
  }

  /**
   * Tell what happens, each event once and in order, from now on and without end. A connection that breaks, or a server
   * that is started anew, is waited for, and nothing is missed. Who keeps the `id` of the last event goes on behind it
   * another time.
   *
   * @param {import("./happenings.js").EventOptions} [options]
   * @returns {AsyncGenerator<import("./types.js").HeadwaterEvent, void, undefined>}
   */
  events(options = {}) {
    return events(this.#api, options);
  }
}
