import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { play } from "./player.js";

/** @typedef {import("./player.js").Case} Case */

const upload = { method: "POST", path: "/actions/tasks/{task}/upload", headers: { authorization: "Bearer {token}" } };
const receipt = { status: 200, json: { success: true, payload: { count: 1, total: 1, bytes: 11 }, version: 0 } };

/** What the player itself is held to. @type {Case} */
const SAMPLE = {
  name: "a broken connection, and a document that is refused",
  steps: [
    { on: "writer", call: "write", args: [{ id: "a" }] },
    { on: "writer", call: "flush" },
    { on: "writer", call: "write_all", args: [[{ id: "b" }]] },
    { on: "writer", call: "status", args: [200], raises: { name: "DocumentRejected", line: 1, document: { id: "b" } } },
    { on: "tasks", call: "list", options: { state: "done" }, gives: [{ fid: "{task}" }] },
  ],
  exchanges: [
    { request: { ...upload, key: "first", lines: [{ id: "a" }] }, answer: "dropped" },
    { request: { ...upload, key: "first", lines: [{ id: "a" }] }, answer: receipt },
    {
      request: { ...upload, key: "second", lines: [{ id: "b" }] },
      answer: {
        status: 406,
        json: { type: "https://headwater.dev/problems/document-invalid", errors: [{ line: 1, detail: "no" }] },
      },
    },
    {
      request: {
        method: "GET",
        path: "/tasks",
        query: { state: ["done"], limit: ["1000"] },
        headers: { authorization: "Bearer {key}" },
      },
      answer: { status: 200, json: { success: true, payload: [{ fid: "{task}" }], next_cursor: null } },
    },
  ],
};

/** @type {[string, (sample: any) => unknown][]} */
const SPOILED = [
  ["a request that is not sent", ({ exchanges }) => exchanges.push(exchanges[3])],
  ["a request too many", ({ exchanges }) => exchanges.pop()],
  ["another key", ({ exchanges }) => (exchanges[1].request.key = "other")],
  ["the same key", ({ exchanges }) => (exchanges[2].request.key = "first")],
  ["another document", ({ exchanges }) => (exchanges[1].request.lines = [{ id: "x" }])],
  ["another query", ({ exchanges }) => (exchanges[3].request.query = {})],
  ["another error", ({ steps }) => (steps[3].raises.line = 2)],
  ["no error", ({ steps }) => delete steps[3].raises],
  ["another result", ({ steps }) => (steps[4].gives[0].fid = "x")],
];

test("the player plays a case", (t) => play(t, SAMPLE));

for (const [what, spoil] of SPOILED) {
  test(`the player notices ${what}`, async (t) => {
    const spoiled = structuredClone(SAMPLE);
    spoil(spoiled);
    await assert.rejects(play(t, spoiled));
  });
}

const table = new URL("../../exchanges.json", import.meta.url);
/** @type {Case[]} */
const cases = existsSync(table) ? JSON.parse(readFileSync(table, "utf8")) : [];

for (const each of cases) {
  const isOurs = each.clients?.includes("js") ?? true;
  test(`exchange: ${each.name}`, { skip: !isOurs && "not a call of this client" }, (t) => play(t, each));
}
