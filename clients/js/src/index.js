/** Write crawlers for Headwater, and start and undo their tasks. */

export { externalCrawler } from "./crawler.js";
export * from "./errors.js";
export { Headwater } from "./headwater.js";
export { TaskWriter } from "./writer.js";

/** @typedef {import("./crawler.js").CrawlerHandler} CrawlerHandler */
/** @typedef {import("./crawler.js").CrawlerOptions} CrawlerOptions */
/** @typedef {import("./events.js").EventOptions} EventOptions */
/** @typedef {import("./headwater.js").HeadwaterOptions} HeadwaterOptions */
/** @typedef {import("./queue.js").Crawl} Crawl */
/** @typedef {import("./queue.js").CrawlTask} CrawlTask */
/** @typedef {import("./streams.js").BisectOptions} BisectOptions */
/** @typedef {import("./streams.js").DocsOptions} DocsOptions */
/** @typedef {import("./streams.js").PlanOptions} PlanOptions */
/** @typedef {import("./streams.js").StreamFilters} StreamFilters */
/** @typedef {import("./tasks.js").LogFilters} LogFilters */
/** @typedef {import("./tasks.js").TaskFilters} TaskFilters */
/** @typedef {import("./types.js").BegunTask} BegunTask */
/** @typedef {import("./types.js").Deletion} Deletion */
/** @typedef {import("./types.js").Bisected} Bisected */
/** @typedef {import("./types.js").MatchChange} MatchChange */
/** @typedef {import("./types.js").DocumentVersion} DocumentVersion */
/** @typedef {import("./types.js").Fault} Fault */
/** @typedef {import("./types.js").HeadwaterEvent} HeadwaterEvent */
/** @typedef {import("./log.js").LogLevel} LogLevel */
/** @typedef {import("./types.js").LogLine} LogLine */
/** @typedef {import("./types.js").Plan} Plan */
/** @typedef {import("./types.js").PlannedFile} PlannedFile */
/** @typedef {import("./types.js").PlannedRange} PlannedRange */
/** @typedef {import("./types.js").PlannedSegment} PlannedSegment */
/** @typedef {import("./types.js").Receipt} Receipt */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").StreamDocument} StreamDocument */
/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").TaskState} TaskState */
/** @typedef {import("./upload.js").Progress} Progress */
/** @typedef {import("./upload.js").Source} Source */
/** @typedef {import("./upload.js").UploadOptions} UploadOptions */
/** @typedef {import("./writer.js").WriterOptions} WriterOptions */
