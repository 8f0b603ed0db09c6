import assert from "node:assert/strict";
import { test } from "node:test";

import { TaskWriter } from "../src/index.js";
import { Backend, problem, usual } from "./support.js";

/** @param {Backend} backend */
function logged(backend) {
  const requests = backend.asked.filter(({ path }) => path.endsWith("/log"));
  return requests.flatMap(({ text }) => text.trim().split("\n").map((/** @type {string} */ line) => JSON.parse(line)));
}

test("lines are sent before the task is closed", async (t) => {
  const backend = await new Backend(t).listen();
  await TaskWriter.run(backend.endpoint, (writer) => {
    writer.log("page 1", "info", { pages: 20 });
    writer.log(new Error("gone"), "error");
  });
  const [page, gone] = logged(backend);
  assert.deepEqual([page.text, page.level, page.pages], ["page 1", "info", 20]);
  assert.match(gone.text, /^Error: gone\n +at /);
  assert.deepEqual(
    backend.asked.map(({ path }) => path.split("/").at(-1)),
    ["log", "status"],
  );
});

test("a failed run has its last lines", async (t) => {
  const backend = await new Backend(t).listen();
  const crawl = TaskWriter.run(backend.endpoint, (writer) => {
    writer.log("just before");
    throw new Error("no price");
  });
  await assert.rejects(crawl, { message: "no price" });
  assert.equal(logged(backend)[0].text, "just before");
});

test("a log that is refused harms nothing", async (t) => {
  const backend = await new Backend(t, (asked) =>
    asked.path.endsWith("/log") ? problem(404, "not-found") : usual(asked),
  ).listen();
  await TaskWriter.run(backend.endpoint, async (writer) => {
    writer.log("x");
    await writer.write({ id: "a" });
  });
  assert.deepEqual(backend.reports, [{ code: 200 }]);
});

test("what is no JSON is written all the same", async (t) => {
  const backend = await new Backend(t).listen();
  await TaskWriter.run(backend.endpoint, (writer) => {
    /** @type {Record<string, unknown>} */
    const round = {};
    round["itself"] = round;
    writer.log("x", "info", round);
  });
  assert.equal(logged(backend)[0].text, "x");
});
