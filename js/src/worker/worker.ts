/** The worker's program. A page that is not allowed to start a worker imports it and calls `runJob` itself. */

import { highlight } from "./highlight";
import type { Job, JobResult } from "./jobs";
import { tokenize } from "./tokenize";

export function runJob(job: Job): JobResult {
  try {
    return job.do === "parse" ? tokenize(job.text) : highlight(job.text, job.language);
  } catch {
    return null; // the grammar exceeded its own limits
  }
}

if ("WorkerGlobalScope" in globalThis) {
  addEventListener("message", ({ data }: MessageEvent<Job>) => postMessage(runJob(data)));
}
