/** The work that would hold up a page, and what it answers: done by `worker.ts`, ordered by `offload.ts`. */

import type { Token } from "marked";
import type { Run } from "./highlight";

export type Job =
  | { readonly do: "parse"; readonly text: string }
  | { readonly do: "highlight"; readonly text: string; readonly language: string };

/** Null: to be shown as it is written. */
export type Answer<J extends Job = Job> = (J extends { do: "parse" } ? readonly Token[] : readonly Run[]) | null;

/** What `worker.ts` exports, for a page that may have no worker. */
export interface Program {
  readonly work: (job: Job) => Answer;
}
