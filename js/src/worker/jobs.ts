/** The jobs that would block the page, and their results: `worker.ts` runs them, `worker-client.ts` submits them. */

import type { Token } from "marked";
import type { CodeToken } from "./highlight";

export type Job =
  | { readonly do: "parse"; readonly text: string }
  | { readonly do: "highlight"; readonly text: string; readonly language: string };

/** Null: the text is to be shown as it was written. */
export type JobResult<J extends Job = Job> = (J extends { do: "parse" } ? readonly Token[] : readonly CodeToken[]) | null;

/** The exports of `worker.ts`, for a page that is not allowed to start a worker. */
export interface WorkerModule {
  readonly runJob: (job: Job) => JobResult;
}
