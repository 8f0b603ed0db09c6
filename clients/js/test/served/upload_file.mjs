/**
 * Uploads a file in one stream with an API key, closes the task, and prints what came of it.
 *
 *     HW=http://… KEY=… TASK={fid} FILE=documents.ndjson node test/served/upload_file.mjs
 *     {"count":100000,"seconds":1.5,"peak_rss":123456789,"error":null,"message":null}
 */

import { Headwater } from "../../src/index.js";

const { HW = "", KEY = "", TASK = "", FILE = "" } = process.env;
const { tasks } = new Headwater(HW, KEY);
const begun = performance.now();
/** @type {any} */
let error = null;
let count = 0;
try {
  ({ count } = await tasks.upload(TASK, FILE));
  await tasks.status(TASK, 200);
} catch (reason) {
  error = reason;
}
const outcome = {
  count,
  seconds: (performance.now() - begun) / 1000,
  peak_rss: process.resourceUsage().maxRSS * 1024,
  error: error?.name ?? null,
  message: error?.message ?? null,
};
console.log(JSON.stringify(outcome));
