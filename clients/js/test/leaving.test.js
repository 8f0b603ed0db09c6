import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";

import { DocumentRejected, TaskGone, TaskWriter } from "../src/index.js";
import { Backend, TASK, TOKEN, problem, until, usual } from "./support.js";

test("run closes with 200 and returns what the crawler returned", async (t) => {
  const backend = await new Backend(t).listen();
  const result = await TaskWriter.run(backend.endpoint, async (writer) => {
    await writer.write({ id: "a" });
    return 42;
  });
  assert.equal(result, 42);
  assert.deepEqual(backend.reports, [{ code: 200 }]);
});

test("run uploads, reports 500 with the stack, and raises again when the crawler raises", async (t) => {
  const backend = await new Backend(t).listen();
  const error = new RangeError("page 7 is missing");
  const run = TaskWriter.run(`${backend.url}/actions/tasks/${TASK}`, TOKEN, async (writer) => {
    await writer.write({ id: "a" });
    throw error;
  });
  await assert.rejects(run, error);
  assert.deepEqual(backend.uploads[0]?.lines, [{ id: "a" }]);
  assert.deepEqual(backend.reports, [
    { code: 500, message: "RangeError: page 7 is missing", detail: { traceback: error.stack } },
  ]);
});

test("what is raised may be no error", async (t) => {
  const backend = await new Backend(t).listen();
  await assert.rejects(
    TaskWriter.run(backend.endpoint, () => Promise.reject("tired")),
    (error) => error === "tired",
  );
  assert.deepEqual(backend.reports, [{ code: 500, message: "tired" }]);
});

test("run reports nothing of a task that is gone", async (t) => {
  const backend = await new Backend(t, () => problem(404, "not-found")).listen();
  const run = TaskWriter.run(backend.endpoint, async (writer) => {
    await writer.write({ id: "a" });
    await writer.flush();
  });
  await assert.rejects(run, TaskGone);
  assert.equal(backend.asked.length, 1);
});

test("run reports 500 when a document is rejected, even at the very end", async (t) => {
  const errors = [{ line: 1, pointer: "/price", detail: "wrong" }];
  const backend = await new Backend(t, (asked) =>
    asked.path.endsWith("/upload") ? problem(406, "document-invalid", { errors }) : usual(asked),
  ).listen();
  await assert.rejects(
    TaskWriter.run(backend.endpoint, (writer) => writer.write({ price: "free" })),
    DocumentRejected,
  );
  assert.equal(backend.reports.length, 1);
  assert.equal(backend.reports[0].code, 500);
  assert.match(backend.reports[0].detail.traceback, /DocumentRejected/);
});

test("the crawler's own error is raised though it cannot be reported", async (t) => {
  const backend = await new Backend(t, () => problem(503, "unavailable")).listen();
  const error = new Error("mine");
  await assert.rejects(
    TaskWriter.run(backend.endpoint, () => Promise.reject(error), { retryFor: 0 }),
    error,
  );
});

test("what is reported of an error names its kind, is not too long, and is well-formed", async (t) => {
  const backend = await new Backend(t).listen();
  await new TaskWriter(backend.endpoint).fail(new RangeError("x".repeat(987) + "😀"));
  assert.equal(backend.reports[0].message, `RangeError: ${"x".repeat(987)}\ufffd`);
});

const broken = {
  toString() {
    throw new Error("no");
  },
};

const unreadable = Object.defineProperty(new Error("x"), "message", {
  get() {
    throw new Error("no");
  },
});

/** @type {[string, unknown, string][]} */
const RAISED = [
  ["NUL", new Error("a\0b"), "a\ufffdb"],
  ["half of a surrogate pair", new Error("cut \ud83d"), "cut \ufffd"],
  ["a symbol", Symbol("s"), "Symbol(s)"],
  ["nothing", undefined, "undefined"],
  ["what cannot be shown", broken, "an object that cannot be shown"],
  ["an error whose message cannot be read", unreadable, "an object that cannot be shown"],
];

for (const [what, error, message] of RAISED) {
  test(`a crawler that raises ${what} has its task closed, and raises the same`, async (t) => {
    const backend = await new Backend(t).listen();
    const run = TaskWriter.run(backend.endpoint, () => Promise.reject(error));
    assert.equal(await run.catch((raised) => raised), error);
    assert.deepEqual(
      backend.reports.map(({ code, message }) => [code, message]),
      [[500, message]],
    );
  });
}

test("a report holds whatever it is given", async (t) => {
  const backend = await new Backend(t).listen();
  const ring = /** @type {any} */ ({ "k\0": [NaN, undefined, 2n ** 60n, new Set(["\ud800"])], f() {} });
  const writer = new TaskWriter(backend.endpoint);
  await writer.status(200, "a\0", ring);
  const [{ message, detail }] = backend.reports;
  assert.equal(message, "a\ufffd");
  assert.deepEqual(detail["k\ufffd"], ["NaN", null, String(2n ** 60n), ["\ufffd"]]);
  ring.ring = ring;
  const other = new TaskWriter(backend.endpoint);
  await other.status(500, "round", ring);
  assert.equal(backend.reports[1].code, 500);
});

test("a report that is not taken is made without its texts", async (t) => {
  const backend = await new Backend(t, (asked) =>
    asked.json?.detail ? problem(413, "request-too-large") : usual(asked),
  ).listen();
  await assert.rejects(TaskWriter.run(backend.endpoint, () => Promise.reject(new Error("mine"))), { message: "mine" });
  assert.deepEqual(backend.reports.at(-1), { code: 500, message: "the crawler failed" });
});

test("a task that cannot be closed is told with how to close it", async (t) => {
  const told = t.mock.method(console, "error", () => {});
  const backend = await new Backend(t, () => problem(403, "not-allowed")).listen();
  await assert.rejects(TaskWriter.run(backend.endpoint, () => Promise.reject(new Error("mine"))), { message: "mine" });
  assert.match(told.mock.calls[0]?.arguments[0], /could not be closed .*headwater tasks stop/);
});

test("a run that closes the task itself is left alone", async (t) => {
  const backend = await new Backend(t).listen();
  await TaskWriter.run(backend.endpoint, (writer) => writer.status(500, "the source is closed"));
  assert.deepEqual(backend.reports, [{ code: 500, message: "the source is closed" }]);
});

test("an aborted signal breaks off what is under way, and the failure is still told", async (t) => {
  const control = new AbortController();
  const backend = await new Backend(t, (asked) =>
    asked.path.endsWith("/upload") ? new Promise(() => {}) : usual(asked),
  ).listen();
  const reason = new Error("the process ends");
  const run = TaskWriter.run(
    backend.endpoint,
    async (writer) => {
      await writer.write({ id: "a" });
      await writer.flush();
    },
    { signal: control.signal },
  );
  await until(() => backend.uploads.length === 1);
  control.abort(reason);
  await assert.rejects(run, reason);
  assert.deepEqual(
    backend.reports.map(({ code, message }) => [code, message]),
    [[500, "the process ends"]],
  );
});

test("a pause between two tries ends when the signal is aborted", async (t) => {
  const control = new AbortController();
  const backend = await new Backend(t, () => problem(503, "unavailable", {}, { "Retry-After": "60" })).listen();
  const writer = new TaskWriter(backend.endpoint, { signal: control.signal });
  const report = writer.status(102);
  await until(() => backend.asked.length === 1);
  control.abort();
  await assert.rejects(report, { name: "AbortError" });
});

test("a signal that was aborted before lets nothing begin", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint, { signal: AbortSignal.abort(new TaskGone("stopped")) });
  await assert.rejects(writer.write({}), TaskGone);
  await writer.fail(new Error("late"));
  assert.equal(backend.asked.length, 0);
});

test("a signal that is aborted after the end changes nothing", async (t) => {
  const backend = await new Backend(t).listen();
  const control = new AbortController();
  const writer = new TaskWriter(backend.endpoint, { signal: control.signal });
  await writer.close();
  control.abort();
  assert.equal(writer.signal.aborted, false);
});

test("a block that is left without a close has failed", async (t) => {
  const backend = await new Backend(t).listen();
  const closed = new TaskWriter(backend.endpoint);
  await closed.close();
  await closed[Symbol.asyncDispose]();
  const left = new TaskWriter(backend.endpoint);
  await left.write({ id: "a" });
  await left[Symbol.asyncDispose]();
  assert.deepEqual(
    backend.reports.map(({ code }) => code),
    [200, 500],
  );
  assert.match(backend.reports[1].message, /not closed/);
  assert.equal(backend.uploads.length, 1);
});

test("a process that forgets to close its writer loses nothing, and then ends", async (t) => {
  const backend = await new Backend(t).listen();
  const script = `
    import { TaskWriter } from "headwater-client";
    const writer = new TaskWriter(process.env.ENDPOINT, { maxSeconds: 0.3 });
    await writer.write({ id: "a" });`;
  const env = { ...process.env, ENDPOINT: backend.endpoint };
  const cwd = new URL("..", import.meta.url);
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { env, cwd });
  const errors = text(child.stderr);
  const [code] = await once(child, "exit");
  assert.equal(code, 0, await errors);
  assert.match(await errors, /was not closed by this program: .*headwater tasks stop/);
  assert.deepEqual(
    backend.uploads.map(({ lines }) => lines),
    [[{ id: "a" }]],
  );
});
