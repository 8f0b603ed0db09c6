/** Lines that are uploaded together, compressed while they come in, so that little is left to do at the end. */

import { Gzip, Plain, gunzipped } from "./gzip.js";

const encoder = new TextEncoder();

/** So many bytes are compressed at a time, in another thread. */
const CHUNK = 1 << 19;

const NEWLINE = 10;

/** A UTF-16 unit takes three bytes of UTF-8 at most. */
const WIDEST = 3;

export class Parcel {
  #packing;
  #chunk = new Uint8Array(0);
  /** Bytes of the chunk that are written. */
  #filled = 0;
  #length = 0;
  #count = 0;
  /** @type {Promise<Uint8Array<ArrayBuffer>> | undefined} */
  #body;

  /** @param {{compress: boolean}} how */
  constructor({ compress }) {
    this.isCompressed = compress;
    this.#packing = compress ? new Gzip() : new Plain();
  }

  /** How many lines there are. */
  get count() {
    return this.#count;
  }

  /** How many bytes they take, not compressed. */
  get length() {
    return this.#length;
  }

  /**
   * @param {string} line Without its end.
   * @returns {boolean} Whether bytes went to be compressed, so that other work should have a turn.
   */
  add(line) {
    const needed = line.length * WIDEST + 1;
    const isFull = this.#filled + needed > this.#chunk.length;
    if (isFull) {
      this.#pass();
      this.#chunk = new Uint8Array(Math.max(CHUNK, needed));
    }
    const { written } = encoder.encodeInto(line, this.#chunk.subarray(this.#filled));
    this.#chunk[this.#filled + written] = NEWLINE;
    this.#filled += written + 1;
    this.#length += written + 1;
    this.#count += 1;
    return isFull;
  }

  /** The lines, as they are uploaded; after this, none is added. */
  body() {
    if (this.#body === undefined) {
      this.#pass();
      this.#body = this.#packing.end();
      this.#body.catch(() => {}); // raised where it is awaited
    }
    return this.#body;
  }

  /**
   * Return the document that stands on a line; undefined if there is no such line.
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

  #pass() {
    if (this.#filled > 0) this.#packing.write(this.#chunk.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
