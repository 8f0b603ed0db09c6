/** Headwater as somebody with an API key uses it: tasks to start and undo, streams to read. */

import { Api } from "./api.js";
import { Streams } from "./streams.js";
import { Tasks } from "./tasks.js";

/**
 * @typedef {object} HeadwaterOptions
 * @property {number} [patience] Seconds for which a call is tried again (30).
 * @property {number} [timeout] Seconds that one try may take (120).
 */

/** A Headwater, and the key with which it is used. */
export class Headwater {
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
    this.tasks = new Tasks(api);
    this.streams = new Streams(api);
  }
}
