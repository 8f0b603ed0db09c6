/** Never run: `npm run types` checks that all of the package has the types that its users count on. */

import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createReadStream } from "node:fs";

import {
  type BegunTask,
  type CrawlTask,
  type CrawlerHandler,
  type Deletion,
  DocumentRejected,
  type Fault,
  Headwater,
  HeadwaterError,
  NotJson,
  type Progress,
  type Receipt,
  type Stream,
  type StreamDocument,
  type Task,
  TaskAlreadyRunning,
  TaskClosed,
  TaskGone,
  TaskWriter,
  Unavailable,
  externalCrawler,
} from "headwater-client";

interface Book {
  isbn: string;
  price?: number;
}

async function* books(): AsyncGenerator<Book> {
  yield { isbn: "1" };
}

export async function write(endpoint: string, signal: AbortSignal): Promise<number> {
  const writer = new TaskWriter(endpoint, "token", {
    maxBytes: 1,
    maxSeconds: 1,
    retryFor: 1,
    timeout: 1,
    compress: false,
    signal,
  });
  new TaskWriter(new URL(endpoint));
  new TaskWriter(endpoint, { retryFor: 1 });
  new TaskWriter(endpoint, undefined, {});
  // @ts-expect-error There is no such option.
  new TaskWriter(endpoint, { patiense: 1 });
  await writer.write({ isbn: "1" } satisfies Book);
  // @ts-expect-error A document is an object.
  await writer.write("text");
  await writer.writeAll([{ isbn: "1" }]);
  await writer.writeAll(new Set<Book>());
  await writer.writeAll(books());
  await fetch("https://example.org", { signal: writer.signal });
  await writer.flush();
  const task: Task = await writer.status(102, "half way", { page: 8 });
  await writer.fail(new Error(task.state));
  await writer.close();
  const sum: number = writer.written + writer.taken;
  const isClosed: boolean = writer.closed;
  // @ts-expect-error It is only read.
  writer.written = 0;
  const disposable: AsyncDisposable = writer;
  await using another = writer;
  const length: number = await TaskWriter.run(endpoint, async (each) => each.written);
  const text: string = await TaskWriter.run(endpoint, "token", () => "text", { retryFor: 1 });
  const again: boolean = await writer.run((each) => each === writer);
  return sum + length + text.length + Number(isClosed && again && disposable === another);
}

export async function use(url: URL, file: File): Promise<void> {
  const { tasks, streams } = new Headwater(url, "key", { retryFor: 1, timeout: 1 });
  const task: BegunTask = await tasks.create("crawler", { params: { shop: "north" } });
  if (task.alreadyRunning || task.upload === null) return;
  const { endpoint, token }: { endpoint: string; token: string } = task.upload;
  await tasks.create({ fid: endpoint }, {});
  await tasks.retry(task);
  await tasks.retry(token, { params: {} });
  const foreseen: Deletion = await tasks.delete(task, { dryRun: true });
  const deleted: Task = await tasks.delete(task.fid);
  // @ts-expect-error Without dryRun, it is the task that comes back.
  deleted.unaffected.toFixed(foreseen.unaffected);
  await tasks.restore(task);
  await tasks.stop(task);
  await tasks.status(task, 200, null, [1]);
  for await (const each of tasks.list({ state: "done", crawler: task.crawler, stream: task.stream, limit: 10 }))
    each.docs.toFixed();
  // @ts-expect-error There is no such state.
  tasks.list({ state: "finished" });
  const onProgress = ({ bytes, total }: Progress) => void (total === null ? bytes : bytes / total);
  const receipt: Receipt = await tasks.upload(task, file, {
    onProgress,
    signal: AbortSignal.timeout(1),
    encoding: "gzip",
  });
  await tasks.upload(task, file.stream());
  await tasks.upload(task, "documents.ndjson");
  await tasks.upload(task, createReadStream("documents.ndjson"));
  const writer: TaskWriter = await tasks.writer("crawler", { params: {}, maxSeconds: 1 });
  await writer.write(receipt);
  const stream: Stream = await streams.get("stream");
  for await (const { docs } of streams.list({ name: "Books" })) docs.toFixed();
  const docs: AsyncIterable<StreamDocument> = streams.docs(stream, {
    q: "red",
    where: ["a=b"],
    asOf: 1,
    without: task.fid,
  });
  const headwater = new Headwater(url, "key");
  for await (const { id, type, data } of headwater.events({ stream, type: ["task.done"], since: new Date() })) {
    id.toFixed();
    type.concat(data["name"]);
  }
  headwater.events({ lastEventId: 0, follow: false, signal: AbortSignal.timeout(1) });
  // @ts-expect-error There is no such option.
  headwater.events({ since: 5 });
  for await (const { id, doc } of docs) id.concat(doc["title"]);
}

export function tell(error: unknown): string {
  if (error instanceof DocumentRejected) return `${error.line} ${error.pointer} ${error.document}`;
  if (error instanceof NotJson) return error.pointer;
  if (error instanceof TaskAlreadyRunning) return error.task.fid;
  if (error instanceof TaskGone || error instanceof TaskClosed || error instanceof Unavailable) return error.detail;
  if (!(error instanceof HeadwaterError)) return "";
  const faults: Fault[] = error.errors;
  return [error.status, error.type, error.title, error.requestId, ...error.messages, faults[0]?.doc_id].join();
}

export async function serve(): Promise<void> {
  const handler: CrawlerHandler = externalCrawler({
    async crawl({ fid, params, credential, version, write: take, writeAll, status, flush, signal, writer }: CrawlTask) {
      await take({ fid, params, credential, version });
      await writeAll(books());
      await flush();
      await status(102, `${writer.written}`);
      signal.throwIfAborted();
    },
    concurrency: 2,
    queue: 10,
    authorize: async ({ headers }: IncomingMessage) => headers.authorization === "Bearer secret",
    backends: ["https://headwater.example.org"],
    maxBody: 1,
    writer: { maxSeconds: 1 },
    onError: (error, { fid }) => console.error(fid, error),
  });
  const listener: RequestListener = handler;
  createServer(listener).listen(9000);
  // What Express takes: the request has a parsed body, and a third argument is given.
  const middleware: (
    request: IncomingMessage & { body: any },
    response: Parameters<RequestListener>[1],
    next: () => void,
  ) => unknown = handler;
  await handler.shutdown({ grace: 5 });
  await handler.shutdown();
  // @ts-expect-error Without crawl there is nothing to do.
  externalCrawler({ concurrency: middleware.length });
}
