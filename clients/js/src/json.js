/** JSON serialization that refuses what `JSON.stringify` would silently drop or turn into null, and exact parsing. */

import { NotJson } from "./errors.js";

/** Maximum nesting depth. Headwater accepts about 900 levels; a deeper object is most likely circular. */
const MAX_DEPTH = 1000;

/**
 * Return a document as a line of JSON, without the newline.
 *
 * @param {unknown} document
 * @returns {string}
 * @throws {NotJson} It is not an object, or something in it cannot be written as JSON.
 */
export function lineOf(document) {
  const line = textOf(document);
  if (line === undefined || !line.startsWith("{")) {
    throw new NotJson(`a document is an object, and not ${described(document)}`, "", document);
  }
  return line;
}

/**
 * Return a value as JSON; undefined for undefined.
 *
 * @param {unknown} value
 * @returns {string | undefined}
 * @throws {NotJson} Something in it cannot be written as JSON.
 */
export function textOf(value) {
  const walk = new Walk(value);
  let text;
  try {
    text = JSON.stringify(walk.plain(value, ""));
  } catch (error) {
    if (error instanceof NotJson) throw error;
    throw new NotJson(
      `it cannot be JSON: ${error instanceof Error ? error.message : error}`,
      walk.pointer,
      value,
      error,
    );
  }
  // JSON.stringify writes lone surrogates, and nothing else, as \\ud…: most texts need no closer look.
  const half = text?.includes("\\ud") ? pointerToLoneSurrogate(JSON.parse(text), "") : undefined;
  if (half !== undefined) {
    throw new NotJson(
      "half of a surrogate pair is no character, and would become U+FFFD; toWellFormed() does that to a text",
      half,
      value,
    );
  }
  return text;
}

/** A lone surrogate. */
const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Return a JSON pointer to the first lone surrogate; undefined if there is none.
 *
 * @param {unknown} value A parsed JSON value.
 * @param {string} pointer
 * @returns {string | undefined}
 */
function pointerToLoneSurrogate(value, pointer) {
  if (typeof value === "string") return HALF.test(value) ? pointer : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const place = `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const found = HALF.test(name) ? place : pointerToLoneSurrogate(member, place);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** One traversal of a document, which converts or refuses what `JSON.stringify` would lose. */
class Walk {
  /** Keys and indexes that lead to the current value. @type {(string | number)[]} */
  #path = [];
  /** The objects on that path, to detect cycles. @type {object[]} */
  #above = [];
  #document;

  /** @param {unknown} document */
  constructor(document) {
    this.#document = document;
  }

  /** JSON pointer to the current value. */
  get pointer() {
    return this.#path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  }

  /**
   * Return a value that `JSON.stringify` writes without loss: the same value, unless something had to be converted.
   *
   * @param {any} value
   * @param {string | number} name Its key or index in its parent.
   * @returns {unknown}
   */
  plain(value, name) {
    switch (typeof value) {
      case "number":
        if (!Number.isFinite(value)) this.#refuse(`${value} is not JSON, which knows finite numbers only`, name);
        return value;
      case "bigint":
        if (!Number.isSafeInteger(Number(value))) {
          this.#refuse(`${value}n cannot be a number without loss; make it a text`, name);
        }
        return Number(value);
      case "function":
        return this.#refuse("a function is not JSON; was it to be called?", name);
      case "symbol":
        return this.#refuse("a symbol is not JSON", name);
      case "object":
        return value === null ? null : this.#object(value, name);
      default:
        return value;
    }
  }

  /**
   * @param {any} value
   * @param {string | number} name
   */
  #object(value, name) {
    if (typeof value.toJSON === "function") {
      const stated = value.toJSON(String(name));
      if (stated === null && value instanceof Date) this.#refuse("the date is invalid, and would become null", name);
      // As in JSON.stringify, toJSON is not called again on its result, which is usually a string.
      return typeof stated === "object" && stated !== null ? this.#inside(stated, name) : this.plain(stated, name);
    }
    return this.#inside(value, name);
  }

  /**
   * @param {any} value
   * @param {string | number} name
   */
  #inside(value, name) {
    if (value instanceof Number || value instanceof BigInt) return this.plain(value.valueOf(), name);
    if (value instanceof String || value instanceof Boolean) return value.valueOf();
    const root = this.#above.length === 0;
    if (this.#above.length === MAX_DEPTH) this.#refuseDepth();
    this.#above.push(value);
    if (!root) this.#path.push(name);
    const plain = Array.isArray(value) ? this.#array(value) : this.#record(value);
    if (!root) this.#path.pop();
    this.#above.pop();
    return plain;
  }

  /** @param {unknown[]} value */
  #array(value) {
    let copy;
    for (let place = 0; place < value.length; place += 1) {
      const old = value[place];
      const plain = this.plain(old, place);
      if (plain === undefined) this.#refuse("undefined would become null in an array", place);
      if (plain !== old) (copy ??= value.slice())[place] = plain;
    }
    return copy ?? value;
  }

  /** @param {Record<string, unknown>} value */
  #record(value) {
    const names = Object.keys(value);
    if (names.length === 0) this.#refuseIfHollow(value);
    let copy;
    for (const name of names) {
      const old = value[name];
      const plain = this.plain(old, name);
      if (plain !== old) {
        // No prototype: a key may be "__proto__".
        copy ??= Object.assign(Object.create(null), value);
        copy[name] = plain;
      }
    }
    return copy ?? value;
  }

  /**
   * Refuse a Map, a Set, an Error or a promise: it has no enumerable properties, so its content would be lost.
   *
   * @param {object} value
   */
  #refuseIfHollow(value) {
    const prototype = Object.getPrototypeOf(value);
    // Recognizes plain objects of other realms, too: the prototype of Object.prototype is null.
    if (prototype === null || Object.getPrototypeOf(prototype) === null) return;
    const kind = prototype.constructor?.name || "object";
    const hint = kind === "Promise" ? "; was it to be awaited?" : "";
    this.#refuse(`a ${kind} has no fields, and would become {}${hint}`);
  }

  #refuseDepth() {
    const again = this.#above.findIndex((value, place) => this.#above.indexOf(value) < place);
    const why = again < 0 ? `it is more than ${MAX_DEPTH} levels deep` : "it holds itself";
    this.#path.length = again < 0 ? 0 : again;
    this.#refuse(why);
  }

  /**
   * @param {string} why
   * @param {string | number} [name] Key of the refused value in the current object; absent, that object itself.
   * @returns {never}
   */
  #refuse(why, name) {
    if (name !== undefined && this.#above.length > 0) this.#path.push(name);
    throw new NotJson(why, this.pointer, this.#document);
  }
}

/**
 * Parse JSON, with integers that a number cannot represent exactly as BigInts.
 *
 * @param {string} text
 * @returns {any}
 */
export function exactlyParsed(text) {
  // An integer beyond 2^53 has at least sixteen digits.
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  // A random prefix that no document contains marks the integers while JSON.parse reads them as strings.
  const mark = `${crypto.getRandomValues(new Uint32Array(4)).join("-")}:`;
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${mark}${token}"` : token,
  );
  return JSON.parse(marked, (_name, value) =>
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  );
}

/** @param {unknown} value */
function described(value) {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}
