/** Plays the cases of ../../exchanges.json: what a user calls, what is then sent, and what comes of the answers. */

import assert from "node:assert/strict";

import { Headwater, TaskWriter } from "../src/index.js";
import { Backend } from "./support.js";

/**
 * @typedef {object} Step
 * @property {"writer" | "streams" | "externals" | "crawlers" | "tasks" | "headwater"} on
 * @property {string} call
 * @property {any[]} [args]
 * @property {Record<string, any>} [options]
 * @property {any} [gives]
 * @property {Record<string, any>} [raises]
 *
 * @typedef {object} Exchange
 * @property {{method: string, path: string, headers?: Record<string, string>, query?: Record<string, string[]>,
 *   json?: any, lines?: any[], key?: string}} request
 * @property {"dropped" | {status: number, headers?: Record<string, string>, json?: any, lines?: any[]}} answer
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {string[]} [clients]
 * @property {Step[]} steps
 * @property {Exchange[]} exchanges
 */

/**
 * Play a case.
 *
 * @param {import("node:test").TestContext} t
 * @param {Case} written
 */
export async function play(t, written) {
  /** @type {Case} */
  const { steps, exchanges } = filled(written);
  /** @type {Map<string, string>} */
  const keys = new Map();
  /** @type {unknown[]} */
  const faults = [];
  const left = [...exchanges];
  const backend = await new Backend(t, (asked) => {
    const exchange = left.shift();
    try {
      assert(exchange, `nobody expects ${asked.method} ${asked.path}`);
      compare(asked, exchange.request, keys);
    } catch (error) {
      faults.push(error);
      return { status: 400, json: { detail: "the table knows no such request" } };
    }
    if (exchange.answer === "dropped") return "dropped";
    const { lines, ...answer } = exchange.answer;
    return lines ? { ...answer, text: lines.map((line) => `${JSON.stringify(line)}\n`).join("") } : answer;
  }).listen();

  const headwater = new Headwater(backend.url, filled("{key}"));
  const writer = new TaskWriter(filled(`${backend.url}/actions/tasks/{task}.{token}`));
  /** @type {Record<string, any>} */
  const users = { writer, headwater, ...headwater };
  for (const step of steps) {
    const outcome = await outcomeOf(users[step.on], step);
    // What was sent wrongly explains whatever came of it.
    if (faults.length > 0) throw faults[0];
    judge(outcome, step);
  }
  if (faults.length > 0) throw faults[0];
  assert.deepEqual(
    left.map(({ request }) => `${request.method} ${request.path}`),
    [],
    "requests that were not sent",
  );
}

/**
 * @param {any} user
 * @param {Step} step
 * @returns {Promise<{result?: any, error?: any}>}
 */
async function outcomeOf(user, { on, call, args = [], options }) {
  assert(user, `there is no ${on}`);
  const method = user[camel(call)];
  assert.equal(typeof method, "function", `${on} has no ${camel(call)}`);
  try {
    const result = await method.apply(user, [...args, ...habitual(call, options)]);
    return { result: Symbol.asyncIterator in Object(result) ? await gathered(result) : result };
  } catch (error) {
    return { error };
  }
}

/**
 * Return options as this client takes them: an object at the end, in camelCase; a status takes them by position.
 *
 * @param {string} call
 * @param {Record<string, any> | undefined} options
 */
function habitual(call, options) {
  if (options === undefined) return [];
  if (call === "status")
    return "message" in options || "detail" in options ? [options["message"], options["detail"]] : [];
  return [Object.fromEntries(Object.entries(options).map(([name, value]) => [camel(name), value]))];
}

/**
 * @param {{result?: any, error?: any}} outcome
 * @param {Step} step
 */
function judge({ result, error }, { call, gives, raises }) {
  if (raises) {
    assert(error, `${call} raises ${raises["name"]}`);
    holds(error, raises, `the error of ${call}`);
    return;
  }
  if (error) throw error;
  if (gives !== undefined) holds(result, gives, `the result of ${call}`);
}

/**
 * Assert that something holds at least what it is to hold.
 *
 * @param {any} actual
 * @param {any} expected
 * @param {string} where
 */
function holds(actual, expected, where) {
  if (Array.isArray(expected)) {
    assert.equal(actual?.length, expected.length, `${where}: length`);
    expected.forEach((item, place) => holds(actual[place], item, `${where}/${place}`));
  } else if (typeof expected === "object" && expected !== null) {
    assert.equal(typeof actual, "object", where);
    for (const [name, value] of Object.entries(expected)) {
      holds(name in actual ? actual[name] : actual[camel(name)], value, `${where}/${name}`);
    }
  } else {
    assert.equal(actual, expected, where);
  }
}

/**
 * @param {import("./support.js").Asked} asked
 * @param {Exchange["request"]} expected
 * @param {Map<string, string>} keys
 */
function compare(asked, { method, path, headers = {}, query, json, lines, key }, keys) {
  assert.equal(`${asked.method} ${asked.path}`, `${method} ${path}`);
  for (const [name, value] of Object.entries(headers)) assert.equal(asked.headers[name.toLowerCase()], value, name);
  if (query !== undefined) assert.deepEqual(asked.query, query);
  if (json !== undefined) assert.deepEqual(asked.json, json);
  if (lines !== undefined) assert.deepEqual(asked.lines, lines);
  if (key === undefined) return;
  const sent = String(asked.headers["idempotency-key"]);
  const [known] = [...keys].find(([, value]) => value === sent) ?? [key];
  assert.equal(known, key, "this Idempotency-Key was used before");
  assert.equal(sent, keys.get(key) ?? sent, "another Idempotency-Key than before");
  keys.set(key, sent);
}

/**
 * Put values in the place of placeholders, the same for the same one.
 *
 * @template T
 * @param {T} value
 * @returns {any}
 */
function filled(value) {
  const text = JSON.stringify(value).replace(/\{([a-z][a-z0-9_]*)\}/g, (_, name) => Buffer.from(name).toString("hex"));
  return JSON.parse(text);
}

/** @param {AsyncIterable<any>} items */
async function gathered(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** @param {string} name */
function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}
