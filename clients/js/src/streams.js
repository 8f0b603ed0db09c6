/** Streams, read. */

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").StreamDocument} StreamDocument */

/**
 * @typedef {object} StreamFilters
 * @property {string} [name] The stream's `meta.name`.
 * @property {string} [crawler] The one that feeds it.
 * @property {number} [limit] Streams that are asked for at a time (1000, which is the most).
 *
 * @typedef {object} DocsOptions
 * @property {string} [q] Words that a document holds.
 * @property {string | string[]} [where] Comparisons that hold for it: `price>=4`.
 * @property {number} [asOf] The stream as it stood at this version.
 * @property {string | string[]} [without] As if these tasks had not run.
 * @property {number} [limit] Documents that are asked for at a time (1000, which is the most).
 */

export class Streams {
  #api;

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
  }

  /**
   * @param {string} fid
   * @returns {Promise<Stream>}
   */
  async get(fid) {
    return (await this.#api.call("GET", ["streams", fid])).body["payload"];
  }

  /**
   * List streams, newest first.
   *
   * @param {StreamFilters} [filters]
   * @returns {AsyncGenerator<Stream, void, undefined>}
   */
  list({ name, crawler, limit } = {}) {
    return this.#api.pages(["streams"], { name, crawler, limit });
  }

  /**
   * List the documents that a stream shows, in the order of their ids. All of them are of one version of the stream,
   * whatever happens meanwhile.
   *
   * @param {string | {fid: string}} stream
   * @param {DocsOptions} [options]
   * @returns {AsyncGenerator<StreamDocument, void, undefined>}
   */
  docs(stream, { q, where, asOf, without, limit } = {}) {
    const fid = typeof stream === "string" ? stream : stream.fid;
    return this.#api.pages(["streams", fid, "docs"], { q, where, as_of: asOf, without, limit });
  }
}
