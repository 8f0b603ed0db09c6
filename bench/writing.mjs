// A crawler that does nothing but write: the documents of a file through a TaskWriter, in a process of its own.
//
// `node bench/writing.mjs FILE ENDPOINT ENCODING` prints as JSON how long it took, and the memory that writing added.

import { readFileSync } from "node:fs";
import { TaskWriter } from "../clients/js/src/index.js";

const [file, endpoint, encoding] = process.argv.slice(2);
const documents = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
const peak = () => process.resourceUsage().maxRSS * 1024;
const before = peak();
const cpu = process.cpuUsage();
const began = performance.now();
const writer = new TaskWriter(endpoint, { compress: encoding === "gzip" });
await writer.writeAll(documents);
await writer.close();
const seconds = (performance.now() - began) / 1000;
const used = process.cpuUsage(cpu);
process.stdout.write(
  JSON.stringify({
    seconds,
    cpu: (used.user + used.system) / 1e6,
    memory: peak() - before,
    written: writer.written,
    taken: writer.taken,
  }),
);
