/** A single streamed upload from a file or stream, which is never held in memory. */

import { gzipping } from "./gzip.js";
import { isTransient, newKey } from "./task_calls.js";
import { retry, send, successBody } from "./transport.js";

/** @typedef {import("./types.js").Receipt} Receipt */

/**
 * @typedef {Blob | ReadableStream<Uint8Array | string> | AsyncIterable<Uint8Array | string> | string | URL} Source
 * A Blob or File; a web or Node stream; in Node, also a path or file URL.
 *
 * @typedef {{bytes: number, total: number | null}} Progress
 * Bytes of the source read so far, and its size if known.
 *
 * @typedef {object} UploadOptions
 * @property {AbortSignal | undefined} [signal] Aborts the upload.
 * @property {(progress: Progress) => void} [onProgress]
 * @property {"gzip" | "deflate" | "zstd" | "identity" | undefined} [encoding] How the source is already
 *   compressed; it is sent unchanged, as with `identity`. Absent, the file extension (`.gz`, `.zst`) says so, and
 *   anything else is gzipped while being sent.
 *
 * @typedef {object} Readable
 * A source that can be opened.
 * @property {() => AsyncIterable<Uint8Array | string> | ReadableStream<Uint8Array | string>} open
 * @property {number | null} size
 * @property {string} name
 * @property {boolean} once Whether it can be opened only once.
 */

/**
 * Upload newline-delimited JSON from a source.
 *
 * @param {{url: string, authorization: string, retryFor: number}} target
 * @param {Source} source
 * @param {UploadOptions} options
 * @returns {Promise<Receipt>}
 */
export async function uploadSource({ url, authorization, retryFor }, source, { signal, onProgress, encoding }) {
  signal?.throwIfAborted();
  const readable = await readableOf(source);
  const contentEncoding = encoding ?? encodingOf(readable.name);
  const headers = new Headers({
    Authorization: authorization,
    "Content-Type": "application/x-ndjson",
    "Idempotency-Key": newKey(),
  });
  if (contentEncoding !== "identity") headers.set("Content-Encoding", contentEncoding ?? "gzip");

  let streams = canStream(url) && !(isBrowser && readable.once);
  const attempt = async () => {
    const reading = new SourceStream(readable, onProgress);
    const stop = () => reading.stop();
    signal?.addEventListener("abort", stop);
    const bytes = contentEncoding === undefined ? reading.stream.pipeThrough(gzipping()) : reading.stream;
    try {
      const body = streams ? bytes : await new Response(bytes).blob();
      // No timeout: the duration depends on the source and the network.
      return await send({ method: "POST", url, headers, body, signal, timeout: null });
    } catch (error) {
      signal?.throwIfAborted();
      if (reading.fault) throw reading.fault.error;
      // Chromium fails here if the connection is HTTP/1.1, over which it cannot stream bodies.
      if (isBrowser) streams = false;
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  };
  const again = readable.once ? () => false : isTransient;
  return successBody(await retry(attempt, { again, retryFor, signal }))["payload"];
}

// Browsers stream request bodies over HTTP/2 only, which needs TLS.
const isBrowser = "document" in globalThis || "importScripts" in globalThis;

/** @param {string} url */
function canStream(url) {
  if (!isBrowser) return true;
  if (!url.startsWith("https:")) return false;
  // A browser without streamed bodies converts the stream to a string, and does not read `duplex`.
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

/** A source as a stream of bytes, with progress. */
class SourceStream {
  /** An error of the source, to tell it from a failed connection. @type {{error: unknown} | undefined} */
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
