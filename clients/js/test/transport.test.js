import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import * as client from "../src/index.js";
import { kindOf } from "../src/problem_types.js";
import { pauseAfter, secondsIn } from "../src/transport.js";

test("pauses double up to thirty seconds, and are shortened by up to half", () => {
  const tries = [1, 2, 3, 4, 5, 6, 7, 8, 60];
  assert.deepEqual(
    tries.map((number) => pauseAfter(number, 0, 0)),
    [0.5, 1, 2, 4, 8, 16, 30, 30, 30],
  );
  assert.deepEqual(
    tries.map((number) => pauseAfter(number, 0, 1)),
    [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15],
  );
});

test("a pause is never shorter than Retry-After", () => {
  assert.equal(pauseAfter(1, 7, 1), 7);
  assert.equal(pauseAfter(9, 7, 1), 15);
});

test("Retry-After is seconds or an HTTP date", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  assert.equal(secondsIn("3", now), 3);
  assert.equal(secondsIn(" 120 ", now), 120);
  assert.equal(secondsIn("Sun, 01 Mar 2026 12:00:30 GMT", now), 30);
  assert.equal(secondsIn("Sun, 01 Mar 2026 11:00:00 GMT", now), 0);
  assert.equal(secondsIn("soon", now), 0);
  assert.equal(secondsIn(null, now), 0);
});

test("each documented type of problem has the class of its name", async (t) => {
  const reference = new URL("../../../docs/reference/errors.md", import.meta.url);
  const text = await readFile(reference, "utf8").catch(() => "");
  if (!text) return t.skip("the documentation is not beside the package");
  const problems = [...text.matchAll(/^## ([a-z-]+)\n\n\*\*(\d+)\*\*/gm)];
  assert(problems.length > 20);
  for (const [, slug = "", status] of problems) {
    const name = slug.replace(/(^|-)([a-z])/g, (_, __, letter) => letter.toUpperCase());
    const kind = kindOf(Number(status), `https://headwater.dev/problems/${slug}`);
    assert.equal(kind, Reflect.get(client, name), slug);
    assert.equal(new kind("message").name, name);
    assert(new kind("message") instanceof client.HeadwaterError);
  }
  return undefined;
});

test("a type that is not known yet has the class of its status", () => {
  assert.equal(kindOf(409, "https://headwater.dev/problems/moon-in-the-way"), client.Conflict);
  assert.equal(kindOf(502, null), client.HeadwaterError);
});
