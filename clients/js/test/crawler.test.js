import assert from "node:assert/strict";
import { createServer } from "node:http";
import { json as readJson } from "node:stream/consumers";
import { test } from "node:test";

import { TaskGone, externalCrawler } from "../src/index.js";
import { Backend, problem, sleep, until, usual } from "./support.js";

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("node:http").IncomingMessage & {body?: any}} IncomingMessage */
/** @typedef {import("node:http").ServerResponse} ServerResponse */

const FID = "01a20a3ad4317628b4a00da0dcb22d82";

/** @param {TestContext} t @param {(request: IncomingMessage, response: ServerResponse) => unknown} handler */
async function serve(t, handler) {
  const server = createServer((request, response) => void handler(request, response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
}

/** @param {Backend} backend @param {Record<string, any>} [more] */
function order(backend, { fid = FID, token = "first", ...more } = {}) {
  return {
    fid,
    params: { shop: "north" },
    credential: null,
    endpoint: `${backend.url}/actions/tasks/${fid}.${token}`,
    token,
    ...more,
  };
}

/**
 * @param {string} url
 * @param {any} body
 * @param {{method?: string, headers?: Record<string, string>}} [how]
 */
async function call(url, body, { method = "POST", headers = {} } = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(url, { method, body: text, headers: { "Content-Type": "application/json", ...headers } });
  assert.equal(answer.headers.get("Content-Type"), "application/json");
  return { status: answer.status, headers: answer.headers, json: await answer.json() };
}

/** @param {string} url @param {string} [fid] */
const end = (url, fid = FID) =>
  call(`${url}/task/${fid}/status?version=3`, { code: 410, message: "stopped", detail: null }, { method: "PATCH" });

/** Crawls until it is broken off. @param {import("../src/index.js").CrawlTask} task */
const untilBrokenOff = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

test("a task is answered at once, crawled behind it, and closed", async (t) => {
  const backend = await new Backend(t).listen();
  /** @type {any} */
  let seen;
  const crawl = async (/** @type {import("../src/index.js").CrawlTask} */ task) => {
    seen = task;
    const { write, writeAll, status } = task;
    await write({ id: "a" });
    await writeAll([{ id: "b" }]);
    await status(102, "half way");
  };
  const url = await serve(t, externalCrawler({ crawl }));
  const answer = await call(`${url}/task?version=3`, order(backend, { credential: { user: "jo", password: "x" } }));
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json, {
    success: true,
    payload: { callback: `/task/${FID}`, status: { code: 102, message: "begun" } },
  });
  await until(() => backend.reports.length === 2);
  assert.deepEqual([seen.fid, seen.version, seen.params, seen.credential.user], [FID, 3, { shop: "north" }, "jo"]);
  assert.deepEqual(backend.uploads[0]?.lines, [{ id: "a" }, { id: "b" }]);
  assert.equal(backend.uploads[0]?.headers.authorization, "Bearer first");
  assert.deepEqual(backend.reports, [{ code: 102, message: "half way" }, { code: 200 }]);
});

test("a crawl that fails is reported with its stack, and told to onError", async (t) => {
  const backend = await new Backend(t).listen();
  const error = new RangeError("page 7 is missing");
  /** @type {any[]} */
  const told = [];
  const crawl = () => {
    throw error;
  };
  const url = await serve(t, externalCrawler({ crawl, onError: (...what) => told.push(what) }));
  await call(`${url}/task`, order(backend));
  await until(() => told.length === 1);
  assert.deepEqual(backend.reports, [
    { code: 500, message: "RangeError: page 7 is missing", detail: { traceback: error.stack } },
  ]);
  assert.deepEqual(told, [[error, { fid: FID }]]);
});

test("the same order again starts nothing, while it runs and afterwards", async (t) => {
  const backend = await new Backend(t).listen();
  let runs = 0;
  /** @type {() => void} */
  let finish = () => {};
  const crawl = () => {
    runs += 1;
    return new Promise((resolve) => (finish = () => resolve(undefined)));
  };
  const url = await serve(t, externalCrawler({ crawl }));
  const first = await call(`${url}/task`, order(backend));
  const again = await call(`${url}/task`, order(backend));
  finish();
  await until(() => backend.reports.length === 1);
  const late = await call(`${url}/task`, order(backend));
  assert.deepEqual([again.json, late.json], [first.json, first.json]);
  assert.equal(runs, 1);
});

test("another token is a retry: the former run is broken off without a word, the new one starts", async (t) => {
  const backend = await new Backend(t).listen();
  /** @type {unknown[]} */
  const reasons = [];
  let runs = 0;
  const crawl = async (/** @type {import("../src/index.js").CrawlTask} */ task) => {
    runs += 1;
    if (runs === 1) await untilBrokenOff(task).catch((reason) => reasons.push(reason));
    await task.write({ run: runs });
  };
  const url = await serve(t, externalCrawler({ crawl, onError: (error) => reasons.push(error) }));
  await call(`${url}/task`, order(backend));
  await call(`${url}/task`, order(backend, { token: "second" }));
  await until(() => backend.reports.length === 1);
  assert.equal(runs, 2);
  assert.equal(reasons.length, 1);
  assert(reasons[0] instanceof TaskGone);
  assert.deepEqual(
    backend.asked.map(({ headers }) => headers.authorization),
    ["Bearer second", "Bearer second"],
  );
});

test("a status from Headwater breaks a task off, and an unknown task is 404", async (t) => {
  const backend = await new Backend(t).listen();
  /** @type {unknown} */
  let reason;
  const crawl = async (/** @type {import("../src/index.js").CrawlTask} */ task) => {
    await task.write({ id: "a" });
    await untilBrokenOff(task).catch((why) => (reason = why));
    await task.write({ id: "b" });
  };
  const url = await serve(t, externalCrawler({ crawl }));
  assert.equal((await end(url)).status, 404);
  await call(`${url}/task`, order(backend));
  const answer = await end(url);
  assert.deepEqual([answer.status, answer.json], [200, { success: true, payload: {} }]);
  await until(() => reason);
  assert(reason instanceof TaskGone && reason.message === "stopped");
  await sleep(30);
  assert.deepEqual(backend.asked, []);
  assert.deepEqual((await end(url)).json, { success: false, messages: ["no such task runs here"] });
});

test("what comes beyond the concurrency waits for its turn, and can be ended there", async (t) => {
  const backend = await new Backend(t).listen();
  /** @type {string[]} */
  const begun = [];
  /** @type {(() => void)[]} */
  const finish = [];
  const crawl = ({ fid = "" }) => {
    begun.push(fid);
    return new Promise((resolve) => finish.push(() => resolve(undefined)));
  };
  const url = await serve(t, externalCrawler({ crawl, concurrency: 1, queue: 2 }));
  const answers = [];
  for (const fid of ["a", "b", "c", "d"]) answers.push(await call(`${url}/task`, order(backend, { fid })));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 503],
  );
  assert.deepEqual(
    answers.map(({ json }) => json.payload?.status.message),
    ["begun", "waits for its turn, as number 1", "waits for its turn, as number 2", undefined],
  );
  assert.match(answers[3]?.headers.get("Retry-After") ?? "", /^\d+$/);
  assert.equal((await end(url, "b")).status, 200);
  finish.shift()?.();
  await until(() => begun.length === 2);
  assert.deepEqual(begun, ["a", "c"]);
  finish.shift()?.();
  await until(() => backend.reports.length === 2);
});

test("a shut down crawler lets its tasks end, and fails those that wait or do not", async (t) => {
  const backend = await new Backend(t).listen();
  const crawl = async (/** @type {import("../src/index.js").CrawlTask} */ task) => {
    await task.write({ id: task.fid });
    if (task.fid === "quick") return sleep(50);
    return new Promise(() => {}); // never notices anything
  };
  const handler = externalCrawler({ crawl, concurrency: 2, onError() {} });
  const url = await serve(t, handler);
  for (const fid of ["quick", "slow", "waiting"]) await call(`${url}/task`, order(backend, { fid }));
  const down = handler.shutdown({ grace: 1.5 });
  const late = await call(`${url}/task`, order(backend, { fid: "late" }));
  assert.equal(late.status, 503);
  assert(late.headers.has("Retry-After"));
  await down;
  const told = backend.asked
    .filter(({ path }) => path.endsWith("/status"))
    .map(({ path, json }) => [path.split("/")[3], json.code, json.message]);
  assert.deepEqual(told.sort(), [
    ["quick", 200, undefined],
    ["slow", 500, "the crawler was shut down"],
    ["waiting", 500, "the crawler was shut down"],
  ]);
});

test("a task that is gone ends quietly", async (t) => {
  const backend = await new Backend(t, () => problem(404, "not-found")).listen();
  /** @type {unknown[]} */
  const told = [];
  let isOver = false;
  const crawl = async (/** @type {import("../src/index.js").CrawlTask} */ { write, flush, signal }) => {
    await write({});
    await flush().catch(() => {});
    isOver = signal.aborted;
  };
  const url = await serve(t, externalCrawler({ crawl, onError: (error) => told.push(error) }));
  await call(`${url}/task`, order(backend));
  await until(() => isOver);
  await sleep(20);
  assert.deepEqual(told, []);
  assert.equal(backend.asked.length, 1);
});

test("who may call, and where tasks may upload to, can be restricted", async (t) => {
  const backend = await new Backend(t).listen();
  const authorize = (/** @type {IncomingMessage} */ { headers }) => headers.authorization === "Bearer secret";
  const backends = [`${backend.url}/whatever/`];
  const url = await serve(t, externalCrawler({ crawl() {}, authorize, backends }));
  const headers = { Authorization: "Bearer secret" };
  assert.equal((await call(`${url}/task`, order(backend))).status, 401);
  assert.equal((await end(url)).status, 401);
  const foreign = order(backend, { endpoint: `http://elsewhere.example/actions/tasks/${FID}.first` });
  const refused = await call(`${url}/task`, foreign, { headers });
  assert.deepEqual(
    [refused.status, refused.json.messages],
    [403, ["this crawler does not upload to http://elsewhere.example"]],
  );
  assert.equal((await call(`${url}/task`, order(backend), { headers })).status, 200);
  await until(() => backend.reports.length === 1);
});

/** @type {[string, any][]} */
const BAD_ORDERS = [
  ["text that is not JSON", "{"],
  ["no object", "[]"],
  ["nothing", ""],
  ["no fid", { fid: undefined }],
  ["a fid that is a path", { fid: "../x" }],
  ["no endpoint", { endpoint: undefined }],
  ["an endpoint that is no URL", { endpoint: "elsewhere" }],
  ["an endpoint without a token", { endpoint: "http://host/actions/tasks/x", token: undefined }],
  ["a token that is no header", { token: "a\nb" }],
  ["parameters that are a list", { params: [] }],
  ["a credential that is a text", { credential: "x" }],
];

for (const [what, body] of BAD_ORDERS) {
  test(`an order with ${what} is 400`, async (t) => {
    const backend = await new Backend(t).listen();
    const url = await serve(t, externalCrawler({ crawl() {} }));
    const answer = await call(`${url}/task`, typeof body === "string" ? body : { ...order(backend), ...body });
    assert.equal(answer.status, 400);
    assert.equal(answer.json.success, false);
    assert.equal(answer.json.messages.length, 1);
  });
}

test("a body over the limit is 413, and the answer is heard", async (t) => {
  const backend = await new Backend(t).listen();
  const url = await serve(t, externalCrawler({ crawl() {}, maxBody: 1000 }));
  const answer = await call(`${url}/task`, order(backend, { params: { text: "x".repeat(3_000_000) } }));
  assert.equal(answer.status, 413);
  assert.match(answer.json.messages[0], /limit of 1000 bytes/);
});

test("other paths are 404, other methods 405", async (t) => {
  const url = await serve(t, externalCrawler({ crawl() {} }));
  for (const path of ["/", "/tasks", "/task/", "/task/x", "/task/x/status/", "//task", "/x/task"]) {
    assert.equal((await call(url + path, {})).status, 404, path);
  }
  const put = await call(`${url}/task`, {}, { method: "PUT" });
  assert.deepEqual([put.status, put.headers.get("Allow")], [405, "POST"]);
  const post = await call(`${url}/task/x/status`, {});
  assert.deepEqual([post.status, post.headers.get("Allow")], [405, "PATCH"]);
});

test("what breaks in authorize is 500, and tells nothing of the inside", async (t) => {
  /** @type {unknown[]} */
  const told = [];
  const authorize = () => Promise.reject(new Error("the password is secret"));
  const url = await serve(t, externalCrawler({ crawl() {}, authorize, onError: (error) => told.push(error) }));
  const answer = await call(`${url}/task`, {});
  assert.deepEqual([answer.status, answer.json], [500, { success: false, messages: ["the crawler failed"] }]);
  assert.equal(told.length, 1);
});

/**
 * What comes before a handler in Express.
 *
 * @type {[string, (request: IncomingMessage) => Promise<unknown>][]}
 */
const PARSERS = [
  ["no body parser", async () => {}],
  ["a JSON parser", async (request) => (request.body = await readJson(request))],
  [
    "a parser that gives bytes",
    async (request) => (request.body = Buffer.from(JSON.stringify(await readJson(request)))),
  ],
  ["a parser that was not called upon", async (request) => (request.body = {})],
];

for (const [what, parse] of PARSERS) {
  test(`it works mounted under a path, behind ${what}`, async (t) => {
    const backend = await new Backend(t).listen();
    const handler = externalCrawler({ crawl: ({ params, write }) => write(params) });
    const mount = "/crawlers/books";
    const url = await serve(t, async (request, response) => {
      await parse(request);
      Object.assign(request, { originalUrl: request.url, baseUrl: mount, url: request.url?.slice(mount.length) });
      return Reflect.apply(handler, undefined, [request, response, () => assert.fail("next is not ours to call")]);
    });
    assert.equal((await call(`${url}${mount}/task?version=1`, order(backend))).status, 200);
    await until(() => backend.reports.length === 1);
    assert.deepEqual(backend.uploads[0]?.lines, [{ shop: "north" }]);
    assert.equal((await end(`${url}${mount}`)).status, 404);
  });
}

test("a task whose Headwater is away for a moment is not lost", async (t) => {
  /** @type {any[]} */
  const outcomes = ["dropped", problem(503, "unavailable")];
  const backend = await new Backend(t, (asked) => outcomes.shift() ?? usual(asked)).listen();
  const url = await serve(t, externalCrawler({ crawl: ({ write }) => write({ id: "a" }), writer: { retryFor: 20 } }));
  await call(`${url}/task`, order(backend));
  await until(() => backend.reports.length === 1);
  assert.deepEqual(backend.reports, [{ code: 200 }]);
});
