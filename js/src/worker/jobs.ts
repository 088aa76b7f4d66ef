/** The jobs that would block the page, and their results: `worker.ts` and `math.ts` run them, `worker-client.ts` submits them. */

import type { Token } from "marked";
import type { CodeToken } from "./highlight";

/** An element of MathML: its name, attributes, style (as of `element.style`) and children. */
export type MathTree = string | readonly [string, Readonly<Record<string, string>>, Readonly<Record<string, string>>, readonly MathTree[]];

export type Job =
  | { readonly do: "parse"; readonly text: string }
  | { readonly do: "highlight"; readonly text: string; readonly language: string }
  | { readonly do: "math"; readonly text: string; readonly display: boolean };

interface Results {
  readonly parse: readonly Token[];
  readonly highlight: readonly CodeToken[];
  readonly math: MathTree;
}

/** Null: the text is to be shown as it was written. */
export type JobResult<J extends Job = Job> = Results[J["do"]] | null;

/** A worker posts this first: its program has been read, which takes seconds on a busy computer. */
export const STARTED = "started";

/** The exports of a worker's program, for a page that is not allowed to start a worker. */
export interface WorkerModule {
  readonly runJob: (job: Job) => JobResult;
}
