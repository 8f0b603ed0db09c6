import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { EventForgotten, Headwater, Unavailable } from "../src/index.js";
import { problem } from "./support.js";

/** @param {number} id */
const block = (id) => `id: ${id}\nevent: task.done\ndata: ${JSON.stringify({ id, type: "task.done", data: {} })}\n\n`;

/**
 * A server that answers with pieces of text, one answer after the other; null breaks an answer off.
 *
 * @param {import("node:test").TestContext} t
 * @param {((string | null)[] | ReturnType<typeof problem>)[]} answers
 */
async function serving(t, answers) {
  /** @type {{url: string, held: string | undefined}[]} */
  const asked = [];
  const server = createServer(async (request, response) => {
    asked.push({ url: request.url ?? "", held: /** @type {string | undefined} */ (request.headers["last-event-id"]) });
    const answer = answers.shift() ?? [];
    if (!Array.isArray(answer)) {
      response.writeHead(answer.status, answer.headers).end(JSON.stringify(answer.json));
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const piece of answer) {
      if (piece === null) return void response.destroy();
      response.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, asked };
}

test("events go on behind the last one, whatever breaks", async (t) => {
  const { url, asked } = await serving(t, [
    ["retry: 1000\nid: 6\n\n", block(7), ": keep-alive\n\n", block(8).slice(0, -1), null],
    problem(503, "unavailable", {}, { "Retry-After": "0" }),
    ["retry: 1000\nid: 7\n\n" + block(8) + block(9).slice(0, 30), block(9).slice(30), ": keep-alive\nid: 20\n\n"],
    problem(400, "event-forgotten"),
  ]);
  /** @type {number[]} */
  const told = [];
  await assert.rejects(async () => {
    for await (const { id } of new Headwater(url, "key").events({ type: ["task.done", "stream"] })) told.push(id);
  }, EventForgotten);
  assert.deepEqual(told, [7, 8, 9]);
  assert.deepEqual(
    asked.map(({ held }) => held),
    [undefined, "7", "7", "20"],
  );
  assert.equal(asked[0]?.url, "/events?type=task.done&type=stream");
});

test("events end when they are left, and when their signal says so", async (t) => {
  const { url, asked } = await serving(t, [[block(7), block(8)], [block(9), ...Array(200).fill(": keep-alive\n\n")]]);
  for await (const event of new Headwater(url, "key").events({ lastEventId: 6, task: { fid: "a" } })) {
    assert.equal(event.id, 7);
    break;
  }
  assert.deepEqual(asked, [{ url: "/events?task=a", held: "6" }]);
  const control = new AbortController();
  await assert.rejects(async () => {
    for await (const event of new Headwater(url, "key").events({ signal: control.signal })) {
      assert.equal(event.id, 9);
      control.abort(new Error("enough"));
    }
  }, /enough/);
});

test("a server that stays away is waited for retryFor seconds", async () => {
  const following = new Headwater("http://127.0.0.1:9", "key", { retryFor: 0.1 }).events();
  await assert.rejects(following.next(), Unavailable);
});

test("the log of a task is followed until its attempt is over, whatever breaks", async (t) => {
  /** @param {number} place */
  const line = (place) => `id: ${place}\ndata: ${JSON.stringify({ level: "info", text: `line ${place}` })}\n\n`;
  const { url, asked } = await serving(t, [
    ["id: 0\n\n", line(40), null],
    ["id: 40\n\n" + line(80), ": keep-alive\n\n", "event: end\ndata: {}\n\n"],
  ]);
  /** @type {string[]} */
  const told = [];
  for await (const { text } of new Headwater(url, "key").tasks.log("a", { follow: true, level: "info" })) told.push(text);
  assert.deepEqual(told, ["line 40", "line 80"]);
  assert.deepEqual(asked, [
    { url: "/tasks/a/log?level=info&follow=true", held: undefined },
    { url: "/tasks/a/log?level=info&follow=true", held: "40" },
  ]);
});
