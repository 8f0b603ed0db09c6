/** Access to streams and their documents. */

import { documentPath } from "./paths.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").Bisected} Bisected */
/** @typedef {import("./types.js").DocumentVersion} DocumentVersion */
/** @typedef {import("./types.js").Plan} Plan */
/** @typedef {import("./types.js").StreamDocument} StreamDocument */

/**
 * @typedef {object} StreamFilters
 * @property {string} [name] The stream's `meta.name`.
 * @property {string} [crawler] The crawler that feeds it.
 * @property {number} [limit] Page size (1000, the maximum).
 *
 * @typedef {object} DocsOptions
 * @property {string} [q] Words to search for in documents.
 * @property {string | string[]} [where] Conditions on fields: `price>=4`.
 * @property {number} [asOf] The stream as of this version.
 * @property {string | string[]} [without] The stream without the documents of these tasks.
 * @property {number} [limit] Page size (1000, the maximum).
 *
 * @typedef {object} BisectOptions
 * @property {string} [q] Words that documents contain.
 * @property {string | string[]} [where] Conditions on fields: `price<0`.
 * @property {string} [id] Only the document with this id.
 * @property {number} [since] Only changes after this version of the stream.
 * @property {number} [limit] Changes in the answer (1000).
 *
 * @typedef {object} PlanOptions
 * @property {number} [asOf] The stream as of this version.
 * @property {string | string[]} [without] The stream without the documents of these tasks.
 * @property {number} [ranges] Into how many ranges of ids it is cut, at most (16).
 * @property {"headwater" | "local" | "store"} [warehouse] How files are to be read (`headwater`: over HTTP).
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
   * List the current documents of a stream, ordered by id. All come from the same version of the stream, even if it
   * changes in the meantime.
   *
   * @param {string | {fid: string}} stream
   * @param {DocsOptions} [options]
   * @returns {AsyncGenerator<StreamDocument, void, undefined>}
   */
  docs(stream, { q, where, asOf, without, limit } = {}) {
    return this.#api.pages(["streams", fidOf(stream), "docs"], { q, where, as_of: asOf, without, limit });
  }

  /**
   * Read one document, whatever its id.
   *
   * @param {string | {fid: string}} stream
   * @param {string} id
   * @param {{asOf?: number | undefined, without?: string | string[] | undefined}} [options]
   * @returns {Promise<StreamDocument>}
   */
  async doc(stream, id, { asOf, without } = {}) {
    const { path, query } = documentPath(fidOf(stream), id);
    const request = { query: { ...query, as_of: asOf, without } };
    return (await this.#api.call("GET", path, request)).body["payload"];
  }

  /**
   * List the retained versions of a document, newest first.
   *
   * @param {string | {fid: string}} stream
   * @param {string} id
   * @returns {AsyncGenerator<DocumentVersion, void, undefined>}
   */
  history(stream, id) {
    const { path, query } = documentPath(fidOf(stream), id, ["history"]);
    return this.#api.pages(path, query);
  }

  /**
   * Find the runs that brought documents that match, and those that removed them.
   *
   * @param {string | {fid: string}} stream
   * @param {BisectOptions} [options]
   * @returns {Promise<Bisected>}
   */
  async bisect(stream, { q, where, id, since, limit } = {}) {
    const query = { q, where, id, since, limit };
    return (await this.#api.call("GET", ["streams", fidOf(stream), "bisect"], { query })).body["payload"];
  }

  /**
   * Plan how several machines read a stream at once: ranges of ids, and the files to read for each.
   *
   * @param {string | {fid: string}} stream
   * @param {PlanOptions} [options]
   * @returns {Promise<Plan>}
   */
  async plan(stream, { asOf, without, ranges, warehouse } = {}) {
    const query = { as_of: asOf, without, ranges, warehouse };
    return (await this.#api.call("GET", ["streams", fidOf(stream), "plan"], { query })).body["payload"];
  }

  /**
   * Permanently erase a document in all its versions; needs a key with the scope `admin`.
   *
   * @param {string | {fid: string}} stream
   * @param {string} id
   * @returns {Promise<{docs: number, rejects: number, stream_version: number}>}
   */
  async erase(stream, id) {
    const { path, query } = documentPath(fidOf(stream), id);
    return (await this.#api.call("DELETE", path, { query })).body["payload"];
  }
}

/** @param {string | {fid: string}} stream */
function fidOf(stream) {
  return typeof stream === "string" ? stream : stream.fid;
}
