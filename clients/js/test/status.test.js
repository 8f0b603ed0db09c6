import assert from "node:assert/strict";
import { test } from "node:test";

import { TaskWriter, WriterClosed } from "../src/index.js";
import { Backend, problem, usual } from "./support.js";

test("102 is sent at once, before what is in the buffer", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await writer.status(102, "half way", { page: 8 });
  assert.deepEqual(
    backend.asked.map(({ json }) => json),
    [{ code: 102, message: "half way", detail: { page: 8 } }],
  );
  await writer.close();
});

test("a closing code uploads first and closes the writer", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await writer.status(204, "nothing new");
  assert.deepEqual(
    backend.asked.map(({ path }) => path.split("/").at(-1)),
    ["upload", "status"],
  );
  await writer.close();
  await writer.fail(new Error("late"));
  assert.equal(backend.asked.length, 2);
  await assert.rejects(writer.write({ id: "b" }), WriterClosed);
  await assert.rejects(writer.status(200), WriterClosed);
});

test("closing twice at once reports once", async (t) => {
  const backend = await new Backend(t).listen();
  const writer = new TaskWriter(backend.endpoint);
  await writer.write({ id: "a" });
  await Promise.all([writer.close(), writer.close(), writer.fail(new Error("late"))]);
  assert.deepEqual(backend.reports, [{ code: 200 }]);
});

test("a code that is refused leaves the writer open", async (t) => {
  const backend = await new Backend(t, (asked) =>
    asked.json?.code === 99 ? problem(400, "request-invalid") : usual(asked),
  ).listen();
  const writer = new TaskWriter(backend.endpoint);
  await assert.rejects(writer.status(99), { name: "RequestInvalid" });
  await writer.write({ id: "a" });
  await writer.close();
  assert.deepEqual(backend.reports, [{ code: 99 }, { code: 200 }]);
});
