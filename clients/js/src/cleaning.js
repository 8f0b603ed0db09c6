/** Sanitizes messages and details of reports, so that no report is refused for a character or a value. */

/** Maximum nesting depth, the same as the server's. */
const MAX_DEPTH = 90;

/** Maximum length of the text that stands for a value that cannot be converted. */
const MAX_TEXT = 1000;

/** U+0000 and lone surrogates. */
const UNSTORABLE = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/**
 * Return a string with U+FFFD in place of characters that cannot be stored. Other values are converted to strings.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function cleanText(value) {
  return (typeof value === "string" ? value : shown(value)).replace(UNSTORABLE, "\ufffd");
}

/**
 * Return a JSON value that the server can store. Never throws.
 *
 * @param {any} value
 * @param {number} [depth]
 * @returns {any}
 */
export function cleaned(value, depth = 0) {
  if (value === null || value === undefined || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== "object") return cleanText(value);
  if (depth === MAX_DEPTH) return "…";
  try {
    return inside(value, depth);
  } catch {
    return cleanText(value).slice(0, MAX_TEXT);
  }
}

/**
 * @param {any} value
 * @param {number} depth
 */
function inside(value, depth) {
  if (typeof value.toJSON === "function") return cleaned(value.toJSON(""), depth + 1);
  if (value instanceof Error) return cleanText(value.stack ?? value);
  if (value instanceof Map) return members(value.entries(), depth);
  if (Array.isArray(value) || value instanceof Set) return [...value].map((each) => cleaned(each, depth + 1) ?? null);
  return members(Object.entries(value), depth);
}

/**
 * @param {Iterable<[unknown, unknown]>} entries
 * @param {number} depth
 */
function members(entries, depth) {
  // No prototype: a key may be "__proto__".
  const result = Object.create(null);
  for (const [name, member] of entries) {
    let clean = cleanText(name);
    while (clean in result) clean += "\ufffd";
    result[clean] = cleaned(member, depth + 1);
  }
  return result;
}

/** @param {unknown} value */
function shown(value) {
  try {
    return String(value);
  } catch {
    return `an ${typeof value} that cannot be shown`;
  }
}
