import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

import { Headwater, Unavailable } from "../src/index.js";
import { Backend, TASK, TOKEN, problem, until, usual } from "./support.js";

const LINES = '{"id":"a"}\n{"id":"b"}\n';

/** @param {Backend} backend */
const tasksOf = (backend) => new Headwater(backend.url, "key").tasks;

/** @param {import("node:test").TestContext} t @param {string} name @param {string | Uint8Array} content */
async function file(t, name, content) {
  const folder = await mkdtemp(join(tmpdir(), "headwater-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function* parts() {
  yield LINES.slice(0, 7);
  yield new TextEncoder().encode(LINES.slice(7));
}

/** @type {[string, (t: import("node:test").TestContext) => any][]} */
const SOURCES = [
  ["a Blob", () => new Blob([LINES])],
  ["a stream of the web", () => new Blob([LINES]).stream()],
  ["a stream of texts", () => new Blob([LINES]).stream().pipeThrough(new TextDecoderStream())],
  ["a stream of Node", () => Readable.from([Buffer.from(LINES)])],
  ["a generator", () => parts()],
  ["a path", (t) => file(t, "documents.ndjson", LINES)],
  ["the URL of a file", async (t) => pathToFileURL(await file(t, "documents.ndjson", LINES))],
];

for (const [what, source] of SOURCES) {
  test(`${what} is uploaded as one stream, compressed`, async (t) => {
    const backend = await new Backend(t).listen();
    const receipt = await tasksOf(backend).upload(TASK, await source(t));
    assert.equal(receipt.count, 2);
    const [asked] = backend.asked;
    assert.equal(asked?.path, `/actions/tasks/${TASK}/upload`);
    assert.equal(asked?.text, LINES);
    assert.equal(asked?.headers["content-encoding"], "gzip");
    assert.equal(asked?.headers["transfer-encoding"], "chunked");
    assert.equal(asked?.headers.authorization, "Bearer key");
    assert.match(asked?.headers["idempotency-key"]?.toString() ?? "", /^[0-9a-f]{32}$/);
  });
}

for (const encoding of /** @type {const} */ ([undefined, "identity"])) {
  test(`a large stream is not held in memory, ${encoding ? "sent as it is" : "compressed"}`, async (t) => {
    const server = createServer((request, response) => {
      request.resume().on("end", () => response.end('{"success":true,"payload":{"count":1}}'));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    t.after(() => server.closeAllConnections());
    t.after(() => server.close());
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    let most = 0;
    async function* large() {
      for (let number = 0; number < 5000; number += 1) {
        yield new Uint8Array(1 << 16).fill(97);
        most = Math.max(most, process.memoryUsage().arrayBuffers);
      }
    }
    await new Headwater(`http://127.0.0.1:${port}`, "key").tasks.upload(TASK, large(), { encoding });
    assert(most < 1.5e8, `${most} bytes of 330 million were held`);
  });
}

test("a task's own token is used where there is one", async (t) => {
  const backend = await new Backend(t).listen();
  const task = { fid: TASK, upload: { endpoint: "", token: TOKEN } };
  await tasksOf(backend).upload(task, new Blob([LINES]));
  assert.equal(backend.asked[0]?.headers.authorization, `Bearer ${TOKEN}`);
});

test("what is compressed already is sent as it is", async (t) => {
  const backend = await new Backend(t).listen();
  const tasks = tasksOf(backend);
  await tasks.upload(TASK, await file(t, "documents.ndjson.gz", gzipSync(LINES)));
  await tasks.upload(TASK, new File([gzipSync(LINES)], "DOCUMENTS.GZ"));
  await tasks.upload(TASK, new Blob([gzipSync(LINES)]), { encoding: "gzip" });
  await tasks.upload(TASK, new Blob([LINES]), { encoding: "identity" });
  assert.deepEqual(
    backend.asked.map(({ text }) => text),
    [LINES, LINES, LINES, LINES],
  );
  assert.deepEqual(
    backend.asked.map(({ headers }) => headers["content-encoding"]),
    ["gzip", "gzip", "gzip", undefined],
  );
});

test("progress is told in bytes of the source", async (t) => {
  const backend = await new Backend(t).listen();
  /** @type {import("../src/index.js").Progress[]} */
  const told = [];
  const large = LINES.repeat(20_000);
  const path = await file(t, "documents.ndjson", large);
  await tasksOf(backend).upload(TASK, path, { onProgress: (progress) => told.push(progress) });
  assert(told.length > 1);
  assert.deepEqual(told.at(-1), { bytes: large.length, total: large.length });
  assert(told.every(({ bytes }, place) => place === 0 || bytes > Number(told[place - 1]?.bytes)));
});

test("what can be read again is sent again with the same key", async (t) => {
  /** @type {any[]} */
  const outcomes = ["dropped", problem(503, "unavailable")];
  const backend = await new Backend(t, (asked) => outcomes.shift() ?? usual(asked)).listen();
  await tasksOf(backend).upload(TASK, new Blob([LINES]));
  assert.deepEqual(
    backend.asked.map(({ text }) => text),
    [LINES, LINES, LINES],
  );
  assert.equal(new Set(backend.asked.map(({ headers }) => headers["idempotency-key"])).size, 1);
});

test("a stream is sent once", async (t) => {
  const backend = await new Backend(t, () => "dropped").listen();
  await assert.rejects(tasksOf(backend).upload(TASK, new Blob([LINES]).stream()), Unavailable);
  assert.equal(backend.asked.length, 1);
});

test("a refusal is the error of its type", async (t) => {
  const backend = await new Backend(t, () =>
    problem(406, "document-invalid", { errors: [{ line: 1, detail: "no" }] }),
  ).listen();
  await assert.rejects(tasksOf(backend).upload(TASK, parts()), {
    name: "DocumentInvalid",
    errors: [{ line: 1, detail: "no" }],
  });
});

test("a source that breaks breaks the upload, with its own error", async (t) => {
  const backend = await new Backend(t).listen();
  async function* broken() {
    yield LINES;
    throw new RangeError("the disk is gone");
  }
  await assert.rejects(tasksOf(backend).upload(TASK, broken()), { name: "RangeError", message: "the disk is gone" });
  await assert.rejects(tasksOf(backend).upload(TASK, join(tmpdir(), "no-such-file")), { code: "ENOENT" });
  assert.equal(backend.asked.length, 0);
});

test("a source of something else is refused", async (t) => {
  const backend = await new Backend(t).listen();
  await assert.rejects(tasksOf(backend).upload(TASK, /** @type {any} */ ([{ id: "a" }])), TypeError);
  await assert.rejects(tasksOf(backend).upload(TASK, /** @type {any} */ (Readable.from([{ id: "a" }]))), TypeError);
});

test("an aborted signal breaks the upload off", async (t) => {
  const backend = await new Backend(t).listen();
  const control = new AbortController();
  let isLeft = false;
  async function* endless() {
    try {
      for (;;) {
        yield LINES;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    } finally {
      isLeft = true;
    }
  }
  setTimeout(() => control.abort(new Error("enough")), 100);
  await assert.rejects(tasksOf(backend).upload(TASK, endless(), { signal: control.signal }), { message: "enough" });
  await until(() => isLeft);
});
