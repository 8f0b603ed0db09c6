/** Request handler for a crawler that Headwater starts (an external crawler, EC), for node:http and Express. */

import { httpUrl, parted } from "./endpoint.js";
import { RunQueue } from "./queue.js";

/** @typedef {import("./queue.js").Crawl} Crawl */
/** @typedef {import("./queue.js").StartRequest} StartRequest */
/** @typedef {import("./writer.js").WriterOptions} WriterOptions */

/**
 * @typedef {object} CrawlerRequest
 * The part of a request that the handler uses; requests of node:http and Express have it.
 * @property {string | undefined} [method]
 * @property {string | undefined} [url] Path and query, relative to where the handler is mounted.
 * @property {Record<string, string | string[] | undefined>} headers
 * @property {any} [body] The body, if a body parser has read it.
 * @property {boolean} [readableEnded]
 * @property {(event: any, listener: (...args: any[]) => void) => unknown} on
 * @property {() => unknown} resume
 *
 * @typedef {object} CrawlerResponse
 * @property {number} statusCode
 * @property {(name: string, value: string) => unknown} setHeader
 * @property {(text: string) => unknown} end
 *
 * @typedef {object} CrawlerOptions
 * @property {Crawl} crawl Crawls one task. When it returns, the task is done; when it throws, the task has failed.
 * @property {number} [concurrency] Maximum number of concurrent tasks (4).
 * @property {number} [queue] Maximum number of queued tasks (100); beyond it, the answer is 503 with Retry-After.
 * @property {(request: any) => unknown} [authorize] Whether to accept a request; may be async. Absent, all are.
 * @property {(string | URL)[]} [backends] Origins that tasks may upload to. Absent, any origin in the request.
 * @property {number} [maxBody] Maximum size of a request body, in bytes (8 MiB).
 * @property {Omit<WriterOptions, "signal">} [writer] Options of each task's writer.
 * @property {(error: unknown, task: {fid: string}) => void} [onError] Called when a task fails, and
 *   with an empty fid when a request fails. Absent, the error is logged to the console.
 *
 * @typedef {((request: CrawlerRequest, response: CrawlerResponse) => Promise<void>)
 *   & {shutdown: (options?: {grace?: number}) => Promise<void>}} CrawlerHandler
 */

/** `Retry-After` of a 503, in seconds. Headwater tries five times within about a minute. */
const RETRY_AFTER = 15;

/** An error response. */
class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {Record<string, string>} [headers]
   */
  constructor(status, message, headers = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/**
 * Return a handler for `POST /task` and `PATCH /task/{fid}/status`.
 *
 * A task is accepted at once and crawled after the response. When `concurrency` tasks are running, new ones are
 * queued, because Headwater fails a task that is refused for about a minute.
 *
 * @param {CrawlerOptions} options
 * @returns {CrawlerHandler}
 */
export function externalCrawler({
  crawl,
  concurrency = 4,
  queue = 100,
  authorize = () => true,
  backends,
  maxBody = 8 << 20,
  writer = {},
  onError = (error, { fid }) => console.error(fid ? `task ${fid} failed:` : "a call failed:", error),
}) {
  if (typeof crawl !== "function") throw new TypeError("crawl is the function that crawls a task");
  const runs = new RunQueue({ crawl, concurrency, queue, writer, onError });
  const origins = backends && new Set(backends.map((backend) => httpUrl(backend).origin));
  let isDown = false;

  /** @param {CrawlerRequest} request @param {string | undefined} query */
  async function begin(request, query) {
    const start = startRequestOf(await bodyOf(request, maxBody), new URLSearchParams(query).get("version"));
    const { origin } = httpUrl(start.endpoint);
    if (origins && !origins.has(origin)) throw new Refusal(403, `this crawler does not upload to ${origin}`);
    const message = isDown ? undefined : runs.begin(start);
    if (message === undefined) {
      const why = isDown ? "this crawler is being shut down" : "too many tasks wait already";
      throw new Refusal(503, why, { "Retry-After": String(RETRY_AFTER) });
    }
    return { callback: `/task/${start.fid}`, status: { code: 102, message } };
  }

  /** @param {CrawlerRequest} request @param {string} fid */
  async function end(request, fid) {
    // The body is optional.
    const hasBody = request.headers["content-length"] !== "0" && request.body !== "";
    const { message } = hasBody ? await bodyOf(request, maxBody) : { message: undefined };
    const why = typeof message === "string" && message ? message : "the task was ended";
    if (!runs.abort(fid, why)) throw new Refusal(404, "no such task runs here");
    return {};
  }

  /** @param {CrawlerRequest} request */
  async function answerTo(request) {
    const [path = "", query] = (request.url ?? "").split("?", 2);
    const [, fid] = /^\/task\/([^/]+)\/status$/.exec(path) ?? [];
    const allowed = path === "/task" ? "POST" : fid === undefined ? undefined : "PATCH";
    if (allowed === undefined) throw new Refusal(404, `there is nothing at ${path}`);
    if (request.method !== allowed) {
      throw new Refusal(405, `${request.method} is not allowed here; allowed: ${allowed}`, { Allow: allowed });
    }
    if (!(await authorize(request))) throw new Refusal(401, "this crawler does not know who is calling");
    return fid === undefined ? begin(request, query) : end(request, fid);
  }

  /** @type {CrawlerHandler} */
  const handler = Object.assign(
    /** @param {CrawlerRequest} request @param {CrawlerResponse} response */
    async (request, response) => {
      try {
        respond(response, 200, { success: true, payload: await answerTo(request) });
      } catch (error) {
        const refusal = error instanceof Refusal ? error : new Refusal(500, "the crawler failed");
        if (refusal !== error) onError(error, { fid: "" });
        const { status, message, headers } = refusal;
        // Drain the rest of the body: a client that is still sending reads no response.
        request.resume();
        respond(response, status, { success: false, messages: [message] }, headers);
      }
    },
    {
      /** @param {{grace?: number}} [options] */
      shutdown: async ({ grace = 10 } = {}) => {
        isDown = true;
        await runs.end(grace);
      },
    },
  );
  return handler;
}

/**
 * @param {CrawlerResponse} response
 * @param {number} status
 * @param {object} body
 * @param {Record<string, string>} [headers]
 */
function respond(response, status, body, headers = {}) {
  const text = JSON.stringify(body);
  response.statusCode = status;
  response.setHeader("Content-Type", "application/json");
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(text);
}

/**
 * @param {any} body
 * @param {string | null} version
 * @returns {StartRequest}
 */
function startRequestOf(body, version) {
  const { fid, params, credential, endpoint, token } = body;
  if (typeof fid !== "string" || !/^[\w-]{1,100}$/.test(fid))
    throw new Refusal(400, "/fid: the fid of a task is expected");
  if (typeof endpoint !== "string") throw new Refusal(400, "/endpoint: a URL is expected");
  if (!isObject(params ?? {})) throw new Refusal(400, "/params: an object is expected");
  if (!isObject(credential ?? {})) throw new Refusal(400, "/credential: an object or null is expected");
  let target;
  try {
    target = parted(endpoint, typeof token === "string" ? token : undefined);
  } catch (error) {
    throw new Refusal(400, `/endpoint: ${error instanceof Error ? error.message : error}`);
  }
  return {
    fid,
    version: version && /^\d+$/.test(version) ? Number(version) : null,
    params: params ?? {},
    credential: credential ?? null,
    endpoint: target.url,
    token: target.token,
  };
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Return the JSON object in a request's body.
 *
 * @param {CrawlerRequest} request
 * @param {number} most Maximum size in bytes.
 * @returns {Promise<Record<string, any>>}
 */
async function bodyOf(request, most) {
  const { body } = request;
  // A body parser that skips a content type leaves an empty object and an unread stream.
  const isParsed = body !== undefined && (request.readableEnded !== false || Object.keys(body ?? {}).length > 0);
  const given = isParsed ? body : await read(request, most);
  const parsed = typeof given === "string" || given instanceof Uint8Array ? parse(given) : given;
  if (!isObject(parsed)) throw new Refusal(400, "the body is not a JSON object");
  return parsed;
}

/** @param {string | Uint8Array} text */
function parse(text) {
  try {
    return JSON.parse(typeof text === "string" ? text : new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch (error) {
    throw new Refusal(400, `the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * @param {CrawlerRequest} request
 * @param {number} most
 * @returns {Promise<Uint8Array>}
 */
function read(request, most) {
  return new Promise((resolve, reject) => {
    /** @type {Uint8Array[]} */
    const parts = [];
    let length = 0;
    request.on("data", (/** @type {Uint8Array} */ part) => {
      length += part.length;
      if (length <= most) parts.push(part);
      else reject(new Refusal(413, `the body is over the limit of ${most} bytes`));
    });
    request.on("end", () => {
      const whole = new Uint8Array(length);
      let at = 0;
      for (const part of length <= most ? parts : []) {
        whole.set(part, at);
        at += part.length;
      }
      resolve(whole);
    });
    const broken = () => reject(new Refusal(400, "the connection broke"));
    request.on("error", broken);
    request.on("close", broken);
  });
}
