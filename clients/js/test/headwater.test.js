import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";

import { Headwater, TaskAlreadyRunning, TaskWriter, Unavailable } from "../src/index.js";
import { Backend, TASK, TOKEN, problem, usual } from "./support.js";

const CRAWLER = "0197f3a0c1d27000a1b2c3d4e5f60719";
const KEY = "hw_key";
const OPEN = { fid: TASK, crawler: CRAWLER, type: "tasks" };
const BEGUN = { ...OPEN, upload: { endpoint: `http://elsewhere/actions/tasks/${TASK}.${TOKEN}`, token: TOKEN } };

/** @param {any} payload @param {number} [status] @param {object} [more] */
const success = (payload, status = 200, more = {}) => ({
  status,
  json: { success: true, payload, version: 0, ...more },
});

test("a task is created with parameters", async (t) => {
  const backend = await new Backend(t, () => success(BEGUN, 201)).listen();
  const task = await new Headwater(`${backend.url}/`, KEY).tasks.create(CRAWLER, { params: { shop: "north" } });
  assert.equal(task.alreadyRunning, false);
  assert.equal(task.upload?.token, TOKEN);
  const [asked] = backend.asked;
  assert.equal(`${asked?.method} ${asked?.path}`, `POST /actions/crawlers/${CRAWLER}/task`);
  assert.equal(asked?.headers.authorization, `Bearer ${KEY}`);
  assert.deepEqual(asked?.json, { params: { shop: "north" } });
});

test("an open task is told by alreadyRunning, and is no task to write", async (t) => {
  const backend = await new Backend(t, () => success(OPEN, 208)).listen();
  const { tasks } = new Headwater(backend.url, KEY);
  const task = await tasks.create({ fid: CRAWLER });
  assert.deepEqual([task.fid, task.alreadyRunning, task.upload], [TASK, true, null]);
  await assert.rejects(
    tasks.writer(CRAWLER),
    (error) => error instanceof TaskAlreadyRunning && error.task.fid === TASK,
  );
});

test("a writer comes with its task, at the address where Headwater was reached", async (t) => {
  const backend = await new Backend(t, (asked) =>
    asked.path.endsWith("/task") ? success(BEGUN, 201) : usual(asked),
  ).listen();
  const writer = await new Headwater(backend.url, KEY).tasks.writer(CRAWLER, { params: { a: 1 }, maxSeconds: 1 });
  assert(writer instanceof TaskWriter);
  await writer.run((same) => same.write({ id: "a" }));
  assert.deepEqual(
    backend.asked.map(({ path }) => path.replace(/^.*\//, "")),
    ["task", "upload", "status"],
  );
  assert.equal(backend.uploads[0]?.headers.authorization, `Bearer ${TOKEN}`);
});

test("a task that a server crawls is no task to write", async (t) => {
  const backend = await new Backend(t, () => success({ ...OPEN, upload: null }, 201)).listen();
  await assert.rejects(new Headwater(backend.url, KEY).tasks.writer(CRAWLER), /has an endpoint/);
});

test("a retry takes the crawler from the task, and asks for it where there is only a fid", async (t) => {
  const backend = await new Backend(t, ({ method }) => success(method === "GET" ? OPEN : BEGUN)).listen();
  const { tasks } = new Headwater(backend.url, KEY);
  const task = await tasks.get(TASK);
  await tasks.retry(task);
  await tasks.retry(TASK, { params: { a: 1 } });
  const retry = `POST /actions/crawlers/${CRAWLER}/task/${TASK}`;
  assert.deepEqual(
    backend.asked.map(({ method, path }) => `${method} ${path}`),
    [`GET /tasks/${TASK}`, retry, `GET /tasks/${TASK}`, retry],
  );
  assert.deepEqual(backend.asked[3]?.json, { params: { a: 1 } });
});

test("deleting, restoring, stopping and reporting are the actions of a task", async (t) => {
  const backend = await new Backend(t, () => success({ removed: 1, restored: 0, unaffected: 0 })).listen();
  const { tasks } = new Headwater(backend.url, KEY);
  assert.equal((await tasks.delete(TASK, { dryRun: true })).removed, 1);
  await tasks.delete({ fid: TASK });
  await tasks.restore(TASK);
  await tasks.stop(TASK);
  await tasks.status(TASK, 500, "no more", { page: 1 });
  assert.deepEqual(
    backend.asked.map(({ method, path }) => `${method} ${path}`),
    [
      `DELETE /actions/tasks/${TASK}`,
      `DELETE /actions/tasks/${TASK}`,
      `POST /actions/tasks/${TASK}/restore`,
      `POST /actions/tasks/${TASK}/stop`,
      `POST /actions/tasks/${TASK}/status`,
    ],
  );
  assert.deepEqual(
    backend.asked.map(({ query }) => query),
    [{ dry_run: ["true"] }, {}, {}, {}, {}],
  );
  assert.deepEqual(backend.asked[4]?.json, { code: 500, message: "no more", detail: { page: 1 } });
});

test("lists go on from page to page, with the same filters", async (t) => {
  const pages = [[{ fid: "3" }, { fid: "2" }], [{ fid: "1" }]];
  const backend = await new Backend(t, ({ query }) => {
    const cursor = Number(query["cursor"]?.[0] ?? 0);
    return success(pages[cursor], 200, { next_cursor: cursor === 0 ? "1" : null });
  }).listen();
  const found = [];
  for await (const task of new Headwater(backend.url, KEY).tasks.list({ state: "done", crawler: CRAWLER, limit: 2 })) {
    found.push(task.fid);
  }
  assert.deepEqual(found, ["3", "2", "1"]);
  const filters = { state: ["done"], crawler: [CRAWLER], limit: ["2"] };
  assert.deepEqual(
    backend.asked.map(({ query }) => query),
    [filters, { ...filters, cursor: ["1"] }],
  );
});

test("a list that is left early asks for no further page", async (t) => {
  const backend = await new Backend(t, () => success([{ fid: "1" }], 200, { next_cursor: "x" })).listen();
  for await (const task of new Headwater(backend.url, KEY).streams.list({ name: "Books" })) {
    assert.equal(task.fid, "1");
    break;
  }
  assert.deepEqual(
    backend.asked.map(({ path, query }) => [path, query]),
    [["/streams", { name: ["Books"], limit: ["1000"] }]],
  );
});

test("a stream's documents are asked for with a view", async (t) => {
  const backend = await new Backend(t, () =>
    success([{ id: "a/b", task: TASK, doc: {} }], 200, { next_cursor: null }),
  ).listen();
  const { streams } = new Headwater(backend.url, KEY);
  const docs = streams.docs({ fid: "s" }, { q: "red", where: ["price>=4", "a=b"], asOf: 7, without: [TASK, CRAWLER] });
  assert.equal((await docs.next()).value?.id, "a/b");
  assert((await docs.next()).done);
  await streams.get("s");
  assert.equal(backend.asked[0]?.path, "/streams/s/docs");
  assert.deepEqual(backend.asked[0]?.query, {
    q: ["red"],
    where: ["price>=4", "a=b"],
    as_of: ["7"],
    without: [TASK, CRAWLER],
    limit: ["1000"],
  });
  assert.equal(backend.asked[1]?.path, "/streams/s");
});

test("an error tells what the problem told", async (t) => {
  const errors = [{ pointer: "/params/shop", detail: "'west' is not one of ['north']" }];
  const backend = await new Backend(t, () => problem(400, "parameters-invalid", { errors })).listen();
  await assert.rejects(new Headwater(backend.url, KEY).tasks.create(CRAWLER), {
    name: "ParametersInvalid",
    status: 400,
    type: "https://headwater.dev/problems/parameters-invalid",
    title: "parameters-invalid",
    detail: "detail of parameters-invalid",
    messages: ["detail of parameters-invalid"],
    errors,
    requestId: "5f2c",
  });
});

test("what can be done twice is tried again after any failure that may pass", async (t) => {
  /** @type {any[]} */
  const outcomes = ["dropped", problem(500, "internal")];
  const backend = await new Backend(t, () => outcomes.shift() ?? success(OPEN)).listen();
  const { tasks } = new Headwater(backend.url, KEY);
  await tasks.get(TASK);
  outcomes.push(problem(429, "slow"), { status: 502, text: "" });
  await tasks.delete(TASK);
  assert.equal(backend.asked.length, 6);
});

test("what cannot be done twice is tried again where it was not done", async (t) => {
  /** @type {any[]} */
  const outcomes = [problem(503, "unavailable"), problem(429, "slow")];
  const backend = await new Backend(t, () => outcomes.shift() ?? success(BEGUN)).listen();
  const { tasks } = new Headwater(backend.url, KEY);
  await tasks.create(CRAWLER);
  assert.equal(backend.asked.length, 3);
  outcomes.push(problem(500, "internal"));
  await assert.rejects(tasks.create(CRAWLER), { name: "Internal" });
  outcomes.push("dropped");
  await assert.rejects(tasks.create(CRAWLER), (error) => error instanceof Unavailable && error.cause instanceof Error);
  assert.equal(backend.asked.length, 5);
});

test("what cannot be done twice is tried again when the connection was refused", async (t) => {
  const port = await freePort();
  const created = new Headwater(`http://127.0.0.1:${port}`, KEY).tasks.create(CRAWLER);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await new Backend(t, () => success(BEGUN, 201)).listen(port);
  assert.equal((await created).fid, TASK);
});

test("an address or a key that cannot be one is refused at once", () => {
  assert.throws(() => new Headwater("localhost:8080", KEY), TypeError);
  assert.throws(() => new Headwater("http://user:secret@localhost", KEY), TypeError);
  assert.throws(() => new Headwater("http://localhost", "key\n"), TypeError);
});

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => resolve(address.port));
    });
  });
}
