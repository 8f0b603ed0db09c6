/**
 * The bare work that upload_many is measured beside: the same lines, made and compressed before the clock runs, posted
 * by fetch one body after another.
 *
 *     ENDPOINT=… COUNT=100000 node test/served/upload_raw.mjs
 *     {"count":100000,"seconds":1.5}
 */

import { gzipSync } from "node:zlib";

import { documents } from "./documents.mjs";

const { ENDPOINT = "", COUNT = "100000" } = process.env;
const BODY = 4 << 20;

/** @type {Uint8Array<ArrayBuffer>[]} */
const bodies = [];
let text = "";
for (const document of documents(Number(COUNT))) {
  text += `${JSON.stringify(document)}\n`;
  if (text.length >= BODY) {
    bodies.push(new Uint8Array(gzipSync(text, { level: 1 })));
    text = "";
  }
}
bodies.push(new Uint8Array(gzipSync(text, { level: 1 })));

let count = 0;
const begun = performance.now();
for (const body of bodies) {
  const answer = await fetch(`${ENDPOINT}/upload`, { method: "POST", body, headers: { "Content-Encoding": "gzip" } });
  count += (await answer.json()).payload.count;
}
await fetch(`${ENDPOINT}/status`, {
  method: "POST",
  body: '{"code": 200}',
  headers: { "Content-Type": "application/json" },
});
console.log(JSON.stringify({ count, seconds: (performance.now() - begun) / 1000 }));
