/** The worker's program. A page that is not allowed to start a worker imports it and calls `runJob` itself. */

import { highlight } from "./highlight";
import { STARTED, type Job, type JobResult } from "./jobs";
import { tokenize } from "./tokenize";

export function runJob(job: Job): JobResult {
  try {
    if (job.do === "parse") return tokenize(job.text);
    return job.do === "highlight" ? highlight(job.text, job.language) : null;
  } catch {
    return null; // the grammar exceeded its own limits
  }
}

if ("WorkerGlobalScope" in globalThis) {
  addEventListener("message", ({ data }: MessageEvent<Job>) => postMessage(runJob(data)));
  postMessage(STARTED);
}
