/** The entries of a room's log: messages, and changes to earlier messages. */

import { attachmentSchema } from "./attachments";
import { array, boolean, nullish, number, object, oneOf, optional, record, string, uint } from "./schema";
import type { Guard, Infer } from "./schema";

const stepState = oneOf("running", "done", "failed");
const ending = oneOf("done", "stopped", "failed", "lost");
const oneOrMore: Guard<string | readonly string[]> = (value): value is string | readonly string[] =>
  string(value) || array(string)(value);

const stepSchema = object({
  id: string,
  title: string,
  state: stepState,
  text: nullish(string),
  /** How long it took. */
  ms: nullish(number),
});
/** One step of what the author of a live message does, such as a search. */
export type Step = Infer<typeof stepSchema>;

/** `fraction`: 0 to 1; absent if the total is not known. `left_ms`: the time left, estimated. */
export const progressSchema = object({ fraction: nullish(number), left_ms: nullish(number) });
/** Makes a live message the progress of some work. */
export type Progress = Infer<typeof progressSchema>;

export const askSchema = object({
  choices: nullish(array(string)),
  from: nullish(oneOrMore),
  /** Milliseconds since the epoch. */
  expires: nullish(number),
  /** Every member has one vote, of which the last counts. */
  poll: optional(boolean),
});
/** What makes a message a question: who may answer, with what, until when. */
export type Ask = Infer<typeof askSchema>;

export const anchorSchema = object({
  /** Of the notebook, below the folder that Jupyter serves; "" if it is not known. */
  path: string,
  id: string,
});
/** The notebook cell that a message is about. */
export type CellAnchor = Infer<typeof anchorSchema>;

export const messageSchema = object({
  seq: uint,
  room: string,
  user: string,
  text: string,
  at: number,
  cid: nullish(string),
  re: nullish(uint),
  choice: nullish(string),
  ask: nullish(askSchema),
  parts: optional(array(attachmentSchema)),
  edited: nullish(number),
  deleted: optional(boolean),
  reactions: optional(record(array(string))),
  /** Of a question: the seq of the message that answered it. */
  answer: nullish(uint),
  /** Of a question: when it ended without an answer. */
  expired: nullish(number),
  /** The server authenticated `user`; otherwise the client chose the name. */
  verified: optional(boolean),
  /** Of a reply: the server's present time, where `at` differs from it because the clock was set. */
  real_at: nullish(number),
  /** It is being written: its text and its steps still grow. */
  live: optional(boolean),
  /** How that ended; "lost": its author has gone, and the server ended it. */
  end: nullish(ending),
  stopped_by: nullish(string),
  steps: optional(array(stepSchema)),
  progress: nullish(progressSchema),
  /** Of a poll: its choices with the users who chose them. */
  votes: optional(record(array(string))),
  /** "plain": the text is shown as it is; otherwise it is Markdown. */
  format: nullish(string),
  /** False: its author does not stop a live message when asked to. */
  stoppable: optional(boolean),
  /** "agent" if an agent wrote it; absent for people and kernels. */
  author_kind: nullish(string),
  /** When a moderator pinned it. */
  pinned: nullish(number),
  cell: nullish(anchorSchema),
});
/** A message with all later changes folded in. `seq` and `at` grow strictly; `seq` may skip values. */
export type Message = Infer<typeof messageSchema>;

export const changeSchema = object({
  seq: uint,
  room: string,
  user: string,
  at: number,
  kind: oneOf("edit", "delete", "react", "expire", "append", "step", "end", "vote"),
  target: uint,
  cid: nullish(string),
  text: nullish(string),
  emoji: nullish(string),
  on: nullish(boolean),
  /** Of a react: the message is pinned, or with `on: false` no more, in place of the reaction. */
  pin: nullish(boolean),
  /** Of an append: the code points of the text before it. */
  offset: nullish(uint),
  /** Of an append whose pieces were sent before: the code points of `text`, which is left out. */
  length: nullish(uint),
  /** Of an append: what the message had from `offset` on is replaced. */
  replace: nullish(boolean),
  progress: nullish(progressSchema),
  /** Of a step, as `title`, `state` and `ms`. */
  id: nullish(string),
  title: nullish(string),
  state: nullish(stepState),
  ms: nullish(number),
  end: nullish(ending),
  stopped_by: nullish(string),
  /** Of a vote. */
  choice: nullish(string),
  real_at: nullish(number),
});
/** An entry that changes the earlier message `target`; it has a `seq` of its own. */
export type Change = Infer<typeof changeSchema>;

export type Entry = Message | Change;

export const isChange = (entry: Entry): entry is Change => "kind" in entry;
