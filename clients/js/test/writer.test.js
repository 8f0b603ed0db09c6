import assert from "node:assert/strict";
import { test } from "node:test";

import { DocumentRejected, HeadwaterError, NotJson, TaskGone, TaskWriter, Unavailable } from "../src/index.js";
import { Backend, TASK, TOKEN, problem, sleep, until, usual } from "./support.js";

test("documents are uploaded as gzipped lines, with the token in a header and not in the path", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a", name: "ü" });
  await writer.writeAll([{ id: "b" }]);
  await writer.close();
  const [upload, report] = backend.asked;
  assert.equal(upload?.path, `/actions/tasks/${TASK}/upload`);
  assert.equal(upload?.method, "POST");
  assert.equal(upload?.headers.authorization, `Bearer ${TOKEN}`);
  assert.equal(upload?.headers["content-encoding"], "gzip");
  assert.equal(upload?.headers["content-type"], "application/x-ndjson");
  assert.equal(upload?.text, '{"id":"a","name":"ü"}\n{"id":"b"}\n');
  assert.equal(report?.path, `/actions/tasks/${TASK}/status`);
  assert.equal(report?.headers.authorization, `Bearer ${TOKEN}`);
  assert.deepEqual(report?.json, { code: 200 });
  assert.deepEqual([writer.fid, writer.written, writer.taken, writer.closed], [TASK, 2, 2, true]);
});

test("documents are uploaded as they are where compressing is not worth it", async (t) => {
  const errors = [{ line: 2, detail: "wrong" }];
  const backend = await new Backend(t, () => problem(406, "document-invalid", { errors })).listen();
  const writer = new TaskWriter(backend.endpoint, { compress: false });
  await writer.writeAll([{ id: "a" }, { id: "ü" }]);
  await assert.rejects(writer.flush(), { name: "DocumentRejected", document: { id: "ü" } });
  assert.equal(backend.uploads[0]?.headers["content-encoding"], undefined);
  assert.equal(backend.uploads[0]?.text, '{"id":"a"}\n{"id":"ü"}\n');
});

test("the token may be beside the endpoint, and an endpoint under a path", async (t) => {
  const backend = await new Backend(t).listen();
  await new TaskWriter(`${backend.url}/under/actions/tasks/${TASK}/`, "beside").close();
  await new TaskWriter(`${backend.url}/actions/tasks/${TASK}.inside`, "beside", {}).close();
  assert.deepEqual(
    backend.asked.map(({ path, headers }) => [path, headers.authorization]),
    [
      [`/under/actions/tasks/${TASK}/status`, "Bearer beside"],
      [`/actions/tasks/${TASK}/status`, "Bearer beside"],
    ],
  );
});

test("an endpoint that cannot be one is refused at once, without telling the token", () => {
  for (const endpoint of [`nonsense.${TOKEN}`, `ftp://host/x.${TOKEN}`, `http://host/tasks/${TASK}`, "http://host/"]) {
    assert.throws(
      () => new TaskWriter(endpoint),
      (error) => error instanceof TypeError && !String(error).includes(TOKEN),
    );
  }
  assert.throws(() => new TaskWriter(`http://host/tasks/${TASK}`, "two words"), TypeError);
});

test("a buffer is uploaded when it has its size", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint, { maxBytes: 100 });
  for (let number = 0; number < 10; number += 1) await writer.write({ number, text: "x".repeat(40) });
  await writer.flush();
  assert.deepEqual(
    backend.uploads.map(({ lines }) => lines.length),
    [2, 2, 2, 2, 2],
  );
  assert.deepEqual(
    backend.uploads.flatMap(({ lines }) => lines.map(({ number }) => number)),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  assert.equal(new Set(backend.uploads.map(({ headers }) => headers["idempotency-key"])).size, 5);
});

test("a buffer is uploaded when it has its age", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint, { maxSeconds: 0.3 });
  await writer.write({ number: 1 });
  assert.equal(backend.uploads.length, 0);
  await until(() => writer.taken === 1);
  await writer.write({ number: 2 });
  await until(() => writer.taken === 2);
  assert.equal(backend.uploads.length, 2);
});

test("one upload is under way while the next buffer fills, and then write waits", async (t) => {
  /** @type {(() => void)[]} */
  const releases = [];
  const backend = await new Backend(t, async (asked) => {
    await new Promise((resolve) => releases.push(() => resolve(undefined)));
    return usual(asked);
  }).listen();
  const writer = new TaskWriter(backend.endpoint, { maxBytes: 10, maxSeconds: 0.01 });
  await writer.write({ number: 1 });
  let isThrough = false;
  const second = writer.write({ number: 2 }).then(() => (isThrough = true));
  await until(() => releases.length === 1);
  await sleep(50);
  assert.equal(isThrough, false);
  assert.equal(backend.uploads.length, 1);
  releases.shift()?.();
  await second;
  await until(() => releases.length === 1);
  assert.equal(writer.taken, 1);
  releases.shift()?.();
  await writer.flush();
  assert.equal(writer.taken, 2);
});

test("lines that grow old behind an upload go together after it", async (t) => {
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((resolve) => (release = () => resolve(undefined)));
  const backend = await new Backend(t, async (asked) => (await held, usual(asked))).listen();
  const writer = new TaskWriter(backend.endpoint, { maxSeconds: 0.01 });
  await writer.write({ number: 1 });
  await until(() => backend.uploads.length === 1);
  for (let number = 2; number < 6; number += 1) {
    await writer.write({ number });
    await sleep(15);
  }
  release();
  await until(() => writer.taken === 5);
  assert.deepEqual(
    backend.uploads.map(({ lines }) => lines.length),
    [1, 4],
  );
});

test("writes that are not awaited keep their order and their sizes", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint, { maxBytes: 1000 });
  const writes = Array.from({ length: 500 }, (_, number) => writer.write({ number }));
  await Promise.all(writes);
  await writer.close();
  assert.deepEqual(
    backend.uploads.flatMap(({ lines }) => lines.map(({ number }) => number)),
    [...Array(500).keys()],
  );
  assert(backend.uploads.every(({ text }) => text.length < 1100));
});

test("a document is taken as it was when it was written", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  const document = { number: 1 };
  const written = writer.write(document);
  document.number = 2;
  await written;
  await writer.close();
  assert.deepEqual(backend.uploads[0]?.lines, [{ number: 1 }]);
});

test("what cannot be JSON is refused before anything is sent, and the writer goes on", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  await assert.rejects(writer.write({ price: NaN }), NotJson);
  await writer.write({ price: 1 });
  await writer.close();
  assert.deepEqual(
    backend.uploads.map(({ lines }) => lines),
    [[{ price: 1 }]],
  );
  assert.equal(writer.written, 1);
});

test("a failed try is repeated with the same key until it succeeds", async (t) => {
  /** @type {any[]} */
  const outcomes = [
    "dropped",
    { status: 502, text: "<html>" },
    problem(503, "unavailable", {}, { "Retry-After": "1" }),
  ];
  const backend = await new Backend(t, (asked) => outcomes.shift() ?? usual(asked)).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await writer.flush();
  assert.equal(writer.taken, 1);
  const { uploads } = backend;
  assert.equal(uploads.length, 4);
  assert.equal(new Set(uploads.map(({ headers }) => headers["idempotency-key"])).size, 1);
  assert.equal(new Set(uploads.map(({ text }) => text)).size, 1);
  const pauses = uploads.slice(1).map(({ at }, place) => at - /** @type {number} */ (uploads[place]?.at));
  const least = [240, 490, 990];
  assert(
    pauses.every((pause, place) => pause > Number(least[place])),
    String(pauses),
  );
});

test("429 and an upload with the same key under way are waited for", async (t) => {
  const outcomes = [problem(429, "slow"), problem(409, "upload-in-flight")];
  const backend = await new Backend(t, (asked) => outcomes.shift() ?? usual(asked)).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await writer.flush();
  assert.equal(backend.uploads.length, 3);
});

test("a writer that has tried for retryFor seconds raises Unavailable, with what it was told last", async (t) => {
  const backend = await new Backend(t, () => problem(503, "unavailable")).listen();
  const writer = new TaskWriter(backend.endpoint, { retryFor: 0.6 });
  await writer.write({ id: "a" });
  await assert.rejects(writer.flush(), (error) => {
    assert(error instanceof Unavailable);
    assert.equal(error.status, 503);
    assert.match(error.message, /gave up after [23] tries: detail of unavailable/);
    return true;
  });
  await assert.rejects(writer.write({ id: "b" }), Unavailable);
});

test("a Retry-After beyond retryFor is not waited for", async (t) => {
  const backend = await new Backend(t, () => problem(503, "unavailable", {}, { "Retry-After": "3600" })).listen();
  const writer = new TaskWriter(backend.endpoint);
  await assert.rejects(writer.status(102), Unavailable);
  assert.equal(backend.asked.length, 1);
});

test("a try without an answer ends after its time, and another one begins", async (t) => {
  let tries = 0;
  const backend = await new Backend(t, async (asked) =>
    ++tries === 1 ? /** @type {Promise<any>} */ (new Promise(() => {})) : usual(asked),
  ).listen();
  const writer = new TaskWriter(backend.endpoint, { timeout: 0.5 });
  await writer.write({ id: "a" });
  await writer.flush();
  assert(tries > 1);
});

for (const [status, slug] of /** @type {const} */ ([
  [400, "upload-broken"],
  [406, "document-invalid"],
])) {
  test(`${slug} raises DocumentRejected with the document, and so does each later call`, async (t) => {
    const errors = [
      { line: 2, pointer: "/price", detail: '"free" is not of type "number"' },
      { line: 3, detail: "more" },
    ];
    const backend = await new Backend(t, () =>
      problem(status, slug, { errors, messages: ["line 2: /price: wrong"] }),
    ).listen();
    const writer = new TaskWriter(backend.endpoint);
    await writer.writeAll([{ id: "a" }, { id: "b", price: "free" }, { id: "c" }]);
    for (const call of [() => writer.flush(), () => writer.write({}), () => writer.status(102), () => writer.close()]) {
      await assert.rejects(call, (error) => {
        assert(error instanceof DocumentRejected);
        assert.equal(error.name, "DocumentRejected");
        assert.deepEqual(error.document, { id: "b", price: "free" });
        assert.deepEqual([error.line, error.pointer, error.detail], [2, "/price", errors[0]?.detail]);
        assert.deepEqual(error.errors, errors);
        assert.equal(error.requestId, "5f2c");
        assert.match(error.message, /detail of .* \(line 2: \/price: wrong\)/);
        return true;
      });
    }
    assert.equal(backend.asked.length, 1);
    assert(writer.signal.aborted);
  });
}

for (const [status, slug] of /** @type {const} */ ([
  [401, "not-authenticated"],
  [404, "not-found"],
  [409, "task-closed"],
  [409, "task-removed"],
  [409, "task-purged"],
  [409, "moved-meanwhile"],
])) {
  test(`${status} ${slug} raises TaskGone, fires the signal, and nothing is sent any more`, async (t) => {
    const backend = await new Backend(t, () => problem(status, slug)).listen();
    const writer = new TaskWriter(backend.endpoint);
    await writer.write({ id: "a" });
    await assert.rejects(writer.flush(), TaskGone);
    assert(writer.signal.reason instanceof TaskGone);
    assert.equal(writer.signal.reason.status, status);
    for (const call of [() => writer.write({}), () => writer.flush(), () => writer.status(102), () => writer.close()]) {
      await assert.rejects(call, TaskGone);
    }
    await writer.fail(new Error("late"));
    assert.equal(backend.asked.length, 1);
  });
}

test("a task that is gone is learned from a status, too", async (t) => {
  const backend = await new Backend(t, () => problem(409, "task-closed")).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await assert.rejects(writer.status(102), TaskGone);
  await assert.rejects(writer.close(), TaskGone);
  assert.equal(backend.uploads.length, 0);
});

test("any other answer raises the error of its type", async (t) => {
  const backend = await new Backend(t, () => problem(413, "document-too-large")).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await assert.rejects(writer.flush(), { name: "DocumentTooLarge", status: 413 });
});

test("an answer that is not Headwater's is no success", async (t) => {
  const backend = await new Backend(t, () => ({ text: "<html>welcome</html>" })).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await assert.rejects(writer.flush(), (error) => error instanceof HeadwaterError && error.name === "HeadwaterError");
  assert.equal(writer.taken, 0);
});

test("a redirect is not followed", async (t) => {
  const backend = await new Backend(t, () => ({ status: 302, headers: { Location: "/elsewhere" }, text: "" })).listen();
  await assert.rejects(new TaskWriter(backend.endpoint).close(), /the answer was 302/);
  assert.equal(backend.asked.length, 1);
});
