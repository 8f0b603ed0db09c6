/**
 * Uploads many documents to a task, closes it, and prints what came of it.
 *
 *     ENDPOINT=http://…/actions/tasks/{fid}.{token} COUNT=100000 node test/served/upload_many.mjs
 *     {"written":100000,"taken":100000,"seconds":1.1,"cpu":0.8,"peak_rss":123456789,"error":null,"message":null}
 *
 * `cpu` is seconds, `peak_rss` bytes, `error` the name of the error that ended it. PATIENCE and MAX_BYTES are the
 * writer's; PAUSE, in milliseconds, is waited after every thousandth document, so that there is time to harm the server.
 */

import { setTimeout as sleep } from "node:timers/promises";

import { TaskWriter } from "../../src/index.js";
import { documents } from "./documents.mjs";

const { ENDPOINT = "", COUNT = "100000", PATIENCE = "600", MAX_BYTES = String(4 << 20), PAUSE = "0" } = process.env;
const writer = new TaskWriter(ENDPOINT, { retryFor: Number(PATIENCE), maxBytes: Number(MAX_BYTES) });
const begun = performance.now();
/** @type {any} */
let error = null;
try {
  await writer.run(async () => {
    if (Number(PAUSE) === 0) return writer.writeAll(documents(Number(COUNT)));
    for (const document of documents(Number(COUNT))) {
      await writer.write(document);
      if (writer.written % 1000 === 0) await sleep(Number(PAUSE));
    }
    return undefined;
  });
} catch (reason) {
  error = reason;
}
const outcome = {
  written: writer.written,
  taken: writer.taken,
  seconds: (performance.now() - begun) / 1000,
  cpu: Object.values(process.cpuUsage()).reduce((a, b) => a + b) / 1e6,
  peak_rss: process.resourceUsage().maxRSS * 1024,
  error: error?.name ?? null,
  message: error?.message ?? null,
};
console.log(JSON.stringify(outcome));
