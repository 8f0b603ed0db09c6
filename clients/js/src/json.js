/** Documents as lines of JSON: what `JSON.stringify` would drop or turn into null without a word is refused. */

import { NotJson } from "./errors.js";

/** Headwater takes some 900 levels; beyond this many, an object most likely holds itself. */
const DEEPEST = 1000;

/**
 * Return a document as a line of JSON, without the line's end.
 *
 * @param {unknown} document
 * @returns {string}
 * @throws {NotJson} It is no object, or something in it cannot be JSON.
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
 * @throws {NotJson} Something in it cannot be JSON.
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
  // Only halves of surrogate pairs are escaped with a d by JSON.stringify, so that few texts are looked at closely.
  return text?.includes("\\ud") ? wellFormed(text) : text;
}

/**
 * Replace what is half a surrogate pair by U+FFFD, as is done wherever JavaScript's strings become UTF-8. Refusing it
 * would end a crawl over a title that was cut in the middle of an emoji.
 *
 * @param {string} text
 */
function wellFormed(text) {
  // Every escape is looked at in turn: in \\ud83d it is the backslash that is escaped.
  return text.replace(/\\(?:u(d[89a-f][0-9a-f]{2})|[^])/g, (escape, half) => (half ? "\ufffd" : escape));
}

/** One look through a document. */
class Walk {
  /** Names and places that lead to where it is. @type {(string | number)[]} */
  #path = [];
  /** The objects on that path. @type {object[]} */
  #above = [];
  #document;

  /** @param {unknown} document */
  constructor(document) {
    this.#document = document;
  }

  /** Where it is, as a JSON pointer. */
  get pointer() {
    return this.#path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  }

  /**
   * Return a value that `JSON.stringify` writes whole: the same one, unless something in it had to be converted.
   *
   * @param {any} value
   * @param {string | number} name Its name in what holds it, or its place.
   * @returns {unknown}
   */
  plain(value, name) {
    switch (typeof value) {
      case "number":
        if (!Number.isFinite(value)) this.#refuse(`${value} is no JSON, which knows finite numbers only`, name);
        return value;
      case "bigint":
        if (!Number.isSafeInteger(Number(value))) {
          this.#refuse(`${value}n cannot be a number without loss; make it a text`, name);
        }
        return Number(value);
      case "function":
        return this.#refuse("a function is no JSON; was it to be called?", name);
      case "symbol":
        return this.#refuse("a symbol is no JSON", name);
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
      // What it gives is taken as it is, as JSON.stringify does; most often it is a text.
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
    if (this.#above.length === DEEPEST) this.#refuseDepth();
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
        // Without a prototype, since a name may be __proto__.
        copy ??= Object.assign(Object.create(null), value);
        copy[name] = plain;
      }
    }
    return copy ?? value;
  }

  /**
   * A Map, a Set, an Error, a promise that was not awaited: their content is no field, and would be lost.
   *
   * @param {object} value
   */
  #refuseIfHollow(value) {
    const prototype = Object.getPrototypeOf(value);
    // Object.prototype of another realm has no prototype either.
    if (prototype === null || Object.getPrototypeOf(prototype) === null) return;
    const kind = prototype.constructor?.name || "object";
    const hint = kind === "Promise" ? "; was it to be awaited?" : "";
    this.#refuse(`a ${kind} has no fields, and would become {}${hint}`);
  }

  #refuseDepth() {
    const again = this.#above.findIndex((value, place) => this.#above.indexOf(value) < place);
    const why = again < 0 ? `it is more than ${DEEPEST} levels deep` : "it holds itself";
    this.#path.length = again < 0 ? 0 : again;
    this.#refuse(why);
  }

  /**
   * @param {string} why
   * @param {string | number} [name] What is refused, in the object where the walk is; absent, that object itself.
   * @returns {never}
   */
  #refuse(why, name) {
    if (name !== undefined && this.#above.length > 0) this.#path.push(name);
    throw new NotJson(why, this.pointer, this.#document);
  }
}

/** @param {unknown} value */
function described(value) {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}
