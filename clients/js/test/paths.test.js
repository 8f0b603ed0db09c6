import assert from "node:assert/strict";
import { test } from "node:test";

import { Headwater, NotFound, TaskWriter, Unsendable } from "../src/index.js";
import { Backend, problem } from "./support.js";

const FID = "0197f3a0c1d27000a1b2c3d4e5f60718";
const PLAIN = ["a", "sku-1", "A_b.c~d", "a..b", "0"];
const OTHERS = [
  ...["", ".", "..", "...", "history", "a/history", "a/b", "//", "a\\b", "%2F", "%2e%2e", "?", "a?id=b", "#", "a&b"],
  ...["a+b", " ", "\n", "\0", "é", "😀", "sha256:00", "https://example.org/a/../b?c#d"],
];
const NO_FIDS = ["", ".", "..", "a/../b", "/", "..\\x", "x/docs/y", "\ud800"];

/** @param {import("node:test").TestContext} t */
async function asking(t) {
  const backend = await new Backend(t, () => problem(404, "not-found")).listen();
  return { backend, headwater: new Headwater(backend.url, "key") };
}

test("a plain id stands in the path, and any other beside it", async (t) => {
  const { backend, headwater } = await asking(t);
  for (const id of [...PLAIN, ...OTHERS]) {
    const isPlain = PLAIN.includes(id);
    for (const call of /** @type {const} */ (["doc", "history", "erase"])) {
      const answer = call === "history" ? headwater.streams.history(FID, id).next() : headwater.streams[call](FID, id);
      await assert.rejects(answer, NotFound);
      const asked = backend.asked.at(-1);
      const behind = call === "history" ? "/history" : "";
      assert.equal(asked?.path, `/streams/${FID}/${isPlain ? `docs/${id}` : "doc"}${behind}`);
      if (!isPlain) assert.deepEqual(asked?.query["id"], [id]);
      assert.equal(asked?.method, call === "erase" ? "DELETE" : "GET");
    }
  }
});

test("an id with half of a surrogate pair is refused, and not made another one", async (t) => {
  const { backend, headwater } = await asking(t);
  for (const id of ["x\ud800", "x\ud801", "\udfff"]) {
    await assert.rejects(headwater.streams.doc(FID, id), Unsendable);
    await assert.rejects(headwater.streams.erase(FID, id), Unsendable);
  }
  await assert.rejects(headwater.streams.docs(FID, { q: "\ud800" }).next(), Unsendable);
  assert.equal(backend.asked.length, 0);
});

test("no value makes another path of the path that it stands in", async (t) => {
  const { backend, headwater } = await asking(t);
  const { streams, tasks } = headwater;
  for (const fid of NO_FIDS) {
    for (const call of [
      () => streams.get(fid),
      () => streams.docs(fid).next(),
      () => streams.erase(fid, "a"),
      () => tasks.get(fid),
      () => tasks.delete(fid),
      () => tasks.create(fid),
      () => tasks.restore(fid),
      () => tasks.stop(fid),
      () => tasks.status(fid, 200),
      () => tasks.upload(fid, new Blob(["{}"])),
      () => tasks.writer(fid),
    ]) {
      await assert.rejects(async () => call(), Unsendable);
    }
  }
  assert.equal(backend.asked.length, 0);
});

test("an endpoint names a task", () => {
  for (const path of ["/actions/tasks/", "/actions/tasks/..", "/actions/tasks/a%2Fb", "/streams/x", "/actions/tasks/a b"]) {
    assert.throws(() => new TaskWriter(`http://headwater.example.org${path}`, "token"), TypeError);
  }
});

test("integers beyond 2^53 are read exactly if that is asked for", async (t) => {
  const doc = '{"success":true,"payload":{"id":"a","task":"t","doc":{"n":12345678901234567890,"m":1}},"version":0}';
  const backend = await new Backend(t, () => ({ status: 200, text: doc })).listen();
  const exact = new Headwater(backend.url, "key", { exactIntegers: true });
  assert.deepEqual((await exact.streams.doc(FID, "a")).doc, { n: 12345678901234567890n, m: 1 });
  const usual = new Headwater(backend.url, "key");
  assert.deepEqual((await usual.streams.doc(FID, "a")).doc, { n: 12345678901234567000, m: 1 });
});
