/** Gzip compression, by node:zlib or CompressionStream. */

// node:zlib at level 1 takes a fifth of the time of CompressionStream, which uses level 6. It is looked up by a call
// instead of an import, so that browsers can load this file unbundled.
const zlib = globalThis.process?.getBuiltinModule?.("node:zlib");

/** Fastest settings: higher levels save little bandwidth, and the default chunk size of 16 KiB is slower. */
const FASTEST = { level: 1, memLevel: 9, chunkSize: 1 << 18 };

/** Compresses bytes incrementally, in another thread. */
export class Gzip {
  /** @type {(bytes: Uint8Array<ArrayBuffer>) => void} */
  #write;
  /** @type {() => void} */
  #end;
  /** @type {Promise<Uint8Array<ArrayBuffer>>} */
  #whole;

  constructor() {
    if (zlib) {
      const stream = zlib.createGzip(FASTEST);
      /** @type {Buffer[]} */
      const parts = [];
      stream.on("data", (part) => parts.push(part));
      this.#whole = new Promise((resolve, reject) => {
        stream.on("end", () => resolve(/** @type {any} */ (Buffer.concat(parts))));
        stream.on("error", reject);
      });
      this.#write = (bytes) => void stream.write(bytes);
      this.#end = () => void stream.end();
      return;
    }
    const stream = new CompressionStream("gzip");
    const writer = stream.writable.getWriter();
    this.#whole = new Response(stream.readable).arrayBuffer().then((buffer) => new Uint8Array(buffer));
    this.#write = (bytes) => void writer.write(bytes);
    this.#end = () => void writer.close();
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes Must not be modified afterwards. */
  write(bytes) {
    this.#write(bytes);
  }

  /** Return everything that was written, compressed. */
  end() {
    this.#end();
    return this.#whole;
  }
}

/** Collects bytes uncompressed; same interface as `Gzip`. */
export class Plain {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #parts = [];

  /** @param {Uint8Array<ArrayBuffer>} bytes Must not be modified afterwards. */
  write(bytes) {
    this.#parts.push(bytes);
  }

  /** Return everything that was written. */
  async end() {
    const whole = new Uint8Array(this.#parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/**
 * Return a transform stream that gzips.
 *
 * @returns {ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>}
 */
export function gzipping() {
  if (!zlib) return new CompressionStream("gzip");
  // Not Duplex.toWeb, which buffers thousands of chunks in memory. With Z_SYNC_FLUSH, chunks of a slow source are sent
  // at once, so that the server does not see an idle connection.
  const stream = zlib.createGzip({ ...FASTEST, flush: zlib.constants.Z_SYNC_FLUSH });
  return new TransformStream({
    start: (control) => void stream.on("data", (part) => control.enqueue(part)),
    transform: (bytes) =>
      new Promise((resolve, reject) => stream.write(bytes, (error) => (error ? reject(error) : resolve()))),
    flush: () => new Promise((resolve, reject) => void stream.on("end", resolve).on("error", reject).end()),
  });
}

/**
 * Return gzipped bytes as text.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export function gunzipped(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
