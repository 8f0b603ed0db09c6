/** The examples of the README that the documentation's own tests do not run. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { Backend, TASK, TOKEN, until } from "./support.js";

const FOLDER = new URL("..", import.meta.url);
const examples = [...readFileSync(new URL("README.md", FOLDER), "utf8").matchAll(/^```js\n(.*?)^```/gms)];
/** Return the example that mentions something. @param {string} what */
const exampleOf = (what) => examples.map(([, code = ""]) => code).find((code) => code.includes(what)) ?? "";

/** @param {string} code @param {Record<string, string>} env */
function run(code, env) {
  return spawn(process.execPath, ["--input-type=module", "--eval", code], {
    cwd: FOLDER,
    env: { ...process.env, ...env },
  });
}

/** Return a port that nobody listened on a moment ago. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

/** @param {import("node:child_process").ChildProcessByStdio<any, any, any>} child */
async function output(child) {
  const [out, err] = [text(child.stdout), text(child.stderr)];
  const [code] = await once(child, "exit");
  assert.equal(code, 0, await err);
  return out;
}

test("the example with an endpoint needs no key", async (t) => {
  const backend = await new Backend(t).listen();
  await output(run(exampleOf("ENDPOINT"), { HEADWATER_ENDPOINT: backend.endpoint }));
  assert.equal(backend.uploads.length, 1);
});

test("the example of a crawler crawls, and shuts down", async (t) => {
  const backend = await new Backend(t).listen();
  const PORT = String(await freePort());
  const child = run(exampleOf("createServer"), { HEADWATER_URL: backend.url, SECRET: "secret", PORT });
  const ended = output(child);
  const order = { fid: TASK, params: { pages: 3 }, endpoint: backend.endpoint, token: TOKEN };
  const start = () =>
    fetch(`http://127.0.0.1:${PORT}/task?version=1`, {
      method: "POST",
      body: JSON.stringify(order),
      headers: { Authorization: "Bearer secret" },
    }).catch(() => undefined);
  let started;
  while (started === undefined && child.exitCode === null) {
    started = await start();
    await setTimeout(20);
  }
  if (started === undefined) await ended; // Fails, with what the example printed.
  assert.equal(started?.status, 200);
  await until(() => backend.reports.at(-1)?.code === 200);
  assert.equal(backend.uploads[0]?.lines.length, 3);
  child.kill("SIGTERM");
  await ended;
});
