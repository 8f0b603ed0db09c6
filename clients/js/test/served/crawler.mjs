/**
 * An external crawler that uploads `params.count` documents, with a pause of `params.pause` milliseconds after each,
 * and fails at the document `params.failAt`.
 *
 *     PORT=9000 CONCURRENCY=4 node test/served/crawler.mjs
 *     {"port":9000}
 *
 * Then it prints a line for each task that ended: its fid, what it wrote, and the name of the error that ended it.
 * SIGTERM shuts it down.
 */

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { externalCrawler } from "../../src/index.js";
import { documents } from "./documents.mjs";

const { PORT = "0", CONCURRENCY = "4", GRACE = "1" } = process.env;

const handler = externalCrawler({
  concurrency: Number(CONCURRENCY),
  async crawl({ fid, params, signal, write, writer }) {
    /** @type {any} */
    let error = null;
    try {
      for (const document of documents(params["count"] ?? 10)) {
        if (writer.written === params["failAt"]) throw new RangeError(`document ${writer.written} is missing`);
        await write(document);
        if (params["pause"]) await sleep(params["pause"], undefined, { signal });
      }
    } catch (reason) {
      error = signal.reason ?? reason;
      throw reason;
    } finally {
      console.log(JSON.stringify({ fid, written: writer.written, error: error?.name ?? null }));
    }
  },
  onError() {},
});
const server = createServer(handler).listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: /** @type {import("node:net").AddressInfo} */ (server.address()).port }));
});
process.once("SIGTERM", async () => {
  await handler.shutdown({ grace: Number(GRACE) });
  process.exit();
});
