/** The program that runs in the worker. Where there can be none, the page imports it and calls `work` itself. */

import { highlight } from "./highlight";
import { parse } from "./tokenize";
import type { Answer, Job } from "./jobs";

export function work(job: Job): Answer {
  try {
    return job.do === "parse" ? parse(job.text) : highlight(job.text, job.language);
  } catch {
    return null; // a grammar's own limits
  }
}

if ("WorkerGlobalScope" in globalThis) {
  addEventListener("message", ({ data }: MessageEvent<Job>) => postMessage(work(data)));
}
