/** A batch of lines for one upload, compressed incrementally. */

import { Gzip, Plain, gunzipped } from "./gzip.js";

const encoder = new TextEncoder();

/** Bytes that are compressed at a time, in another thread. */
const CHUNK = 1 << 19;

const NEWLINE = 10;

/** A UTF-16 code unit takes at most three bytes in UTF-8. */
const MAX_BYTES_PER_UNIT = 3;

export class Batch {
  #compressor;
  #chunk = new Uint8Array(0);
  /** Bytes written to the chunk. */
  #filled = 0;
  #length = 0;
  #count = 0;
  /** @type {Promise<Uint8Array<ArrayBuffer>> | undefined} */
  #body;

  /** @param {{compress: boolean}} how */
  constructor({ compress }) {
    this.isCompressed = compress;
    this.#compressor = compress ? new Gzip() : new Plain();
  }

  /** Number of lines. */
  get count() {
    return this.#count;
  }

  /** Uncompressed size in bytes. */
  get length() {
    return this.#length;
  }

  /**
   * @param {string} line Without the newline.
   * @returns {boolean} Whether a chunk was handed to the compressor, so that the caller should yield to the event loop.
   */
  add(line) {
    const needed = line.length * MAX_BYTES_PER_UNIT + 1;
    const isFull = this.#filled + needed > this.#chunk.length;
    if (isFull) {
      this.#compress();
      this.#chunk = new Uint8Array(Math.max(CHUNK, needed));
    }
    const { written } = encoder.encodeInto(line, this.#chunk.subarray(this.#filled));
    this.#chunk[this.#filled + written] = NEWLINE;
    this.#filled += written + 1;
    this.#length += written + 1;
    this.#count += 1;
    return isFull;
  }

  /** The request body; no lines can be added afterwards. */
  body() {
    if (this.#body === undefined) {
      this.#compress();
      this.#body = this.#compressor.end();
      this.#body.catch(() => {}); // handled where it is awaited
    }
    return this.#body;
  }

  /**
   * Return the document on a line; undefined if there is no such line.
   *
   * @param {number} number Counted from 1.
   * @returns {Promise<unknown>}
   */
  async document(number) {
    const body = await this.body();
    const text = this.isCompressed ? await gunzipped(body) : new TextDecoder().decode(body);
    const line = text.split("\n")[number - 1];
    return line ? JSON.parse(line) : undefined;
  }

  #compress() {
    if (this.#filled > 0) this.#compressor.write(this.#chunk.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
