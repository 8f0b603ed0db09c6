/** One large upload from a file or a stream, which is never held in memory. */

import { gzipping } from "./gzip.js";
import { mayComeLater, newKey } from "./task_calls.js";
import { persist, send, taken } from "./transport.js";

/** @typedef {import("./types.js").Receipt} Receipt */

/**
 * @typedef {Blob | ReadableStream<Uint8Array | string> | AsyncIterable<Uint8Array | string> | string | URL} Source
 * A Blob or File; a stream, Node's own too; in Node, a path or the URL of a file.
 *
 * @typedef {{bytes: number, total: number | null}} Progress
 * Bytes of the source that were read so far, and its size if it is known.
 *
 * @typedef {object} UploadOptions
 * @property {AbortSignal | undefined} [signal] Breaks it off.
 * @property {(progress: Progress) => void} [onProgress]
 * @property {"gzip" | "deflate" | "zstd" | "identity" | undefined} [encoding] How the source is compressed already, so
 *   that it is sent as it is; `identity` sends it as it is, too. Absent, names that end in `.gz` and `.zst` say it, and
 *   all else is compressed on the way.
 *
 * @typedef {object} Readable
 * What can be uploaded.
 * @property {() => AsyncIterable<Uint8Array | string> | ReadableStream<Uint8Array | string>} open
 * @property {number | null} size
 * @property {string} name
 * @property {boolean} once Whether it can be opened only once.
 */

/**
 * Upload lines from a source.
 *
 * @param {{url: string, authorization: string, patience: number}} target
 * @param {Source} source
 * @param {UploadOptions} options
 * @returns {Promise<Receipt>}
 */
export async function uploadSource({ url, authorization, patience }, source, { signal, onProgress, encoding }) {
  signal?.throwIfAborted();
  const readable = await readableOf(source);
  const already = encoding ?? encodingOf(readable.name);
  const headers = new Headers({
    Authorization: authorization,
    "Content-Type": "application/x-ndjson",
    "Idempotency-Key": newKey(),
  });
  if (already !== "identity") headers.set("Content-Encoding", already ?? "gzip");

  let streams = canStream(url) && !(isBrowser && readable.once);
  const attempt = async () => {
    const reading = new Reading(readable, onProgress);
    const stop = () => reading.stop();
    signal?.addEventListener("abort", stop);
    const bytes = already === undefined ? reading.stream.pipeThrough(gzipping()) : reading.stream;
    try {
      const body = streams ? bytes : await new Response(bytes).blob();
      // Without an end: how long it takes is up to the source and the network.
      return await send({ method: "POST", url, headers, body, signal, timeout: null });
    } catch (error) {
      signal?.throwIfAborted();
      if (reading.fault) throw reading.fault.error;
      // Chromium finds out only now that the connection is HTTP/1.1, over which it sends no streams.
      if (isBrowser) streams = false;
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  };
  const again = readable.once ? () => false : mayComeLater;
  return taken(await persist(attempt, { again, patience, signal }))["payload"];
}

// Where there is a document or a worker's scope, streams are sent over HTTP/2 only, and that needs TLS.
const isBrowser = "document" in globalThis || "importScripts" in globalThis;

/** @param {string} url */
function canStream(url) {
  if (!isBrowser) return true;
  if (!url.startsWith("https:")) return false;
  // A browser that does not know streams as bodies makes them texts, and does not look at `duplex`.
  let looked = false;
  const request = new Request(url, {
    method: "POST",
    body: new ReadableStream(),
    // @ts-ignore TypeScript's idea of a request has no such member.
    get duplex() {
      looked = true;
      return "half";
    },
  });
  return looked && !request.headers.has("Content-Type");
}

/**
 * @param {Source} source
 * @returns {Promise<Readable>}
 */
async function readableOf(source) {
  if (source instanceof Blob) {
    const name = "name" in source ? String(source.name) : "";
    return { open: () => source.stream(), size: source.size, name, once: false };
  }
  if (typeof source === "string" || source instanceof URL) return fileOf(source);
  if (source instanceof ReadableStream || (source && Symbol.asyncIterator in source)) {
    return { open: () => source, size: null, name: "", once: true };
  }
  throw new TypeError("what is uploaded is a Blob, a File, a stream, or in Node a path");
}

/**
 * @param {string | URL} path
 * @returns {Promise<Readable>}
 */
async function fileOf(path) {
  const files = globalThis.process?.getBuiltinModule?.("node:fs");
  if (!files) throw new TypeError("paths are known to Node only, from 20.16 on; give a Blob or a stream");
  const { size } = await files.promises.stat(path);
  return { open: () => files.createReadStream(path), size, name: String(path), once: false };
}

/** @param {string} name */
function encodingOf(name) {
  if (/\.gz$/i.test(name)) return "gzip";
  return /\.zst$/i.test(name) ? "zstd" : undefined;
}

/** A source that is being read, as a stream of bytes. */
class Reading {
  /** What broke the source, which is no failure of the connection. @type {{error: unknown} | undefined} */
  fault;
  #parts;
  #bytes = 0;
  #isStopped = false;
  #encoder = new TextEncoder();
  /** @type {ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined} */
  #control;

  /**
   * @param {Readable} readable
   * @param {((progress: Progress) => void) | undefined} onProgress
   */
  constructor(readable, onProgress) {
    const source = readable.open();
    // Safari's streams cannot be iterated.
    this.#parts = source instanceof ReadableStream ? partsOf(source) : source[Symbol.asyncIterator]();
    /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */
    this.stream = new ReadableStream({
      start: (control) => void (this.#control = control),
      pull: async () => {
        try {
          const part = await this.#next();
          if (this.#isStopped) return;
          if (part === undefined) {
            this.#control?.close();
            return;
          }
          onProgress?.({ bytes: this.#bytes, total: readable.size });
          this.#control?.enqueue(part);
        } catch (error) {
          this.fault = { error };
          throw error;
        }
      },
      cancel: () => this.stop(),
    });
  }

  /** Read no further. Node's fetch does not cancel a body that it has begun to send, so that we have to. */
  stop() {
    this.#isStopped = true;
    try {
      this.#control?.error(new Error("the upload has ended"));
    } catch {
      // It was read to its end.
    }
    // Not awaited: an iterator answers only when the part that it was asked for is there.
    this.#parts.return?.()?.catch(() => {});
  }

  async #next() {
    const { done, value } = await this.#parts.next();
    if (done) return undefined;
    const part = typeof value === "string" ? this.#encoder.encode(value) : value;
    if (!(part instanceof Uint8Array)) throw new TypeError(`the stream gives a ${typeof part}, not bytes or text`);
    this.#bytes += part.byteLength;
    return /** @type {Uint8Array<ArrayBuffer>} */ (part);
  }
}

/**
 * @template T
 * @param {ReadableStream<T>} stream
 * @returns {AsyncGenerator<T, void, undefined>}
 */
async function* partsOf(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
