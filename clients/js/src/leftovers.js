/** Warns on the console about tasks that the program leaves open. */

/** Writers that have written documents and are not closed. @type {Set<{fid: string}>} */
const open = new Set();
let hasExitHook = false;

/**
 * Log that a task stays open, and how to close it.
 *
 * @param {string} fid
 * @param {unknown} why
 */
export function warnLeftOpen(fid, why) {
  const reason = why instanceof Error ? why.message : String(why);
  console.error(`headwater: task ${fid} could not be closed (${reason}): ${howToClose(fid)}`);
}

/**
 * Log a warning about a writer when the process exits, unless `forget` is called before.
 *
 * @param {{fid: string}} writer
 */
export function remember(writer) {
  open.add(writer);
  if (hasExitHook || typeof globalThis.process?.on !== "function") return;
  hasExitHook = true;
  globalThis.process.on("exit", () => {
    for (const { fid } of open) {
      console.error(`headwater: task ${fid} was not closed by this program: ${howToClose(fid)}`);
    }
  });
}

/** @param {{fid: string}} writer */
export function forget(writer) {
  open.delete(writer);
}

/** @param {string} fid */
function howToClose(fid) {
  return (
    "it stays open until it has been silent for its crawler's timeout; " +
    `'headwater tasks stop ${fid}' ends it now, as does POST /actions/tasks/${fid}/stop`
  );
}
