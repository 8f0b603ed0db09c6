/** A real HTTP server that answers as a test wants, and remembers what it was asked. */

import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

/** @typedef {import("node:test").TestContext} TestContext */

/**
 * @typedef {object} Asked
 * @property {string} method
 * @property {string} path
 * @property {Record<string, string[]>} query
 * @property {import("node:http").IncomingHttpHeaders} headers
 * @property {string} text The body, decompressed.
 * @property {any} json The same, if it is JSON.
 * @property {any[]} lines The same, if it is lines of JSON.
 * @property {number} at Milliseconds, as `performance.now` tells them.
 *
 * @typedef {object} Answer
 * @property {number} [status]
 * @property {Record<string, string>} [headers]
 * @property {any} [json]
 * @property {string} [text]
 *
 * @typedef {Answer | "dropped"} Outcome
 */

export const TASK = "0197f3a0c1d27000a1b2c3d4e5f60718";
export const TOKEN = "kuYWXLK6a5FQvzu4P7_cG6m5XRSbaCHjyIyQaY6h3ng";

export class Backend {
  /** @type {Asked[]} */
  asked = [];
  url = "";

  /**
   * @param {TestContext} t
   * @param {(asked: Asked) => Outcome | Promise<Outcome>} [answer]
   */
  constructor(t, answer = usual) {
    this.answer = answer;
    this.server = createServer((request, response) => this.#serve(request, response));
    t.after(() => this.stop());
  }

  /** The task's, with its token. */
  get endpoint() {
    return `${this.url}/actions/tasks/${TASK}.${TOKEN}`;
  }

  get uploads() {
    return this.asked.filter(({ path }) => path.endsWith("/upload"));
  }

  /** The bodies of the reports of how the task goes. */
  get reports() {
    return this.asked.filter(({ path }) => path.endsWith("/status")).map(({ json }) => json);
  }

  async listen(port = 0) {
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", () => resolve(undefined)));
    const address = /** @type {import("node:net").AddressInfo} */ (this.server.address());
    this.url = `http://127.0.0.1:${address.port}`;
    return this;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /**
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   */
  async #serve(request, response) {
    const url = new URL(request.url ?? "", "http://localhost");
    const body = await buffer(request).catch(() => undefined);
    if (body === undefined) return; // the client broke it off
    const text = (request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString();
    const asked = {
      method: request.method ?? "",
      path: url.pathname,
      query: Object.fromEntries([...url.searchParams.keys()].map((name) => [name, url.searchParams.getAll(name)])),
      headers: request.headers,
      text,
      json: parsed(text),
      lines: text.split("\n").filter(Boolean).map(parsed),
      at: performance.now(),
    };
    this.asked.push(asked);
    const outcome = await this.answer(asked);
    if (outcome === "dropped") {
      request.socket.destroy();
      return;
    }
    const { status = 200, headers = {}, json, text: plain } = outcome;
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(plain ?? JSON.stringify(json));
  }
}

/** @param {Asked} asked @returns {Answer} */
export function usual({ path, lines }) {
  const payload = path.endsWith("/upload") ? { count: lines.length, total: lines.length, bytes: 1 } : { fid: TASK };
  return { json: { success: true, payload, version: 0 } };
}

/**
 * Return an answer that tells of an error, as Headwater does.
 *
 * @param {number} status
 * @param {string} slug
 * @param {Record<string, unknown>} [more]
 * @param {Record<string, string>} [headers]
 */
export function problem(status, slug, more = {}, headers = {}) {
  const detail = `detail of ${slug}`;
  const type = `https://headwater.dev/problems/${slug}`;
  const json = {
    type,
    title: slug,
    status,
    detail,
    success: false,
    messages: [detail],
    errors: [],
    request_id: "5f2c",
  };
  return { status, headers: { "Content-Type": "application/problem+json", ...headers }, json: { ...json, ...more } };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {number} milliseconds */
export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Wait until something is so; the test's own time runs out if it never is.
 *
 * @param {() => unknown} holds
 */
export async function until(holds) {
  while (!holds()) await sleep(5);
}
