/** Compression, with what the platform has. */

// Node's own zlib at level 1 takes a fifth of the time of CompressionStream, whose level is 6. It is asked for by a
// call and not by an import, so that a browser can load this file as it is.
const zlib = globalThis.process?.getBuiltinModule?.("node:zlib");

/** The least work; what more would spare the network is little. Output in the usual 16 KiB would take longer. */
const LEAST = { level: 1, memLevel: 9, chunkSize: 1 << 18 };

/** Compresses bytes as they come, beside the thread that brings them. */
export class Gzip {
  /** @type {(bytes: Uint8Array<ArrayBuffer>) => void} */
  #write;
  /** @type {() => void} */
  #end;
  /** @type {Promise<Uint8Array<ArrayBuffer>>} */
  #whole;

  constructor() {
    if (zlib) {
      const stream = zlib.createGzip(LEAST);
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

  /** @param {Uint8Array<ArrayBuffer>} bytes Not to be changed any more. */
  write(bytes) {
    this.#write(bytes);
  }

  /** Return all that was written, compressed. */
  end() {
    this.#end();
    return this.#whole;
  }
}

/** Keeps bytes as they come, where `Gzip` would compress them. */
export class Plain {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #parts = [];

  /** @param {Uint8Array<ArrayBuffer>} bytes Not to be changed any more. */
  write(bytes) {
    this.#parts.push(bytes);
  }

  /** Return all that was written. */
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
 * Return a stage that compresses by gzip what is piped through it.
 *
 * @returns {ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>}
 */
export function gzipping() {
  if (!zlib) return new CompressionStream("gzip");
  // Not Duplex.toWeb, which lets thousands of parts wait in memory. Flushed, so that what a slow source gives is sent
  // and not taken for silence.
  const stream = zlib.createGzip({ ...LEAST, flush: zlib.constants.Z_SYNC_FLUSH });
  return new TransformStream({
    start: (control) => void stream.on("data", (part) => control.enqueue(part)),
    transform: (bytes) =>
      new Promise((resolve, reject) => stream.write(bytes, (error) => (error ? reject(error) : resolve()))),
    flush: () => new Promise((resolve, reject) => void stream.on("end", resolve).on("error", reject).end()),
  });
}

/**
 * Return what was compressed by gzip, as text.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export function gunzipped(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
