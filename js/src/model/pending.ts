/** What we are sending, from the press of a key to its place in the log: pure steps over a list of drafts. */

import type { Ack, Draft, Entry, Refusal, Trouble } from "../protocol/frames";

/** A draft that is on its way into the log, or was refused. It keeps its cid, so no retry writes it twice. */
export interface Pending {
  readonly cid: string;
  readonly draft: Draft;
  readonly at: number;
  readonly state: "sending" | "failed";
  /** Why it failed, or why it waits. */
  readonly error?: Trouble;
  /** Acknowledged under this seq; the entry itself is still on its way. */
  readonly seq?: number;
}

type Drafts = readonly Pending[];

const replaced = (drafts: Drafts, cid: string, by: (found: Pending) => Pending): Drafts =>
  drafts.map((each) => (each.cid === cid ? by(each) : each));

export const find = (drafts: Drafts, cid: string | undefined): Pending | undefined =>
  drafts.find((each) => each.cid === cid);

export const without = (drafts: Drafts, cid: string): Drafts => drafts.filter((each) => each.cid !== cid);

/** A new connection knows nothing of these: they go out again, under the same cid. */
export const unacknowledged = (drafts: Drafts): Drafts =>
  drafts.filter(({ state, seq }) => state === "sending" && seq === undefined);

/** `last`: the list already holds everything up to here. */
export function acknowledged(drafts: Drafts, { cid, seq }: Ack, last: number): Drafts {
  if (seq <= last) return without(drafts, cid);
  return replaced(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state: "sending", seq }));
}

/** `entry` is in the list: its draft has become it. */
export function arrived(drafts: Drafts, entry: Entry): Drafts {
  const rest = drafts.filter(({ cid, seq }) => cid !== entry.cid && (seq === undefined || seq > entry.seq));
  return rest.length === drafts.length ? drafts : rest;
}

/** Everything up to `last` is accounted for without having been seen one by one. */
export const skipped = (drafts: Drafts, last: number): Drafts =>
  drafts.filter(({ seq }) => seq === undefined || seq > last);

/** Refused: for good, or (`retry_ms`) only for now. */
export function refused(drafts: Drafts, { cid = "", code, message, retry_ms }: Refusal): Drafts {
  const state = retry_ms === undefined ? "failed" : "sending";
  return replaced(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state, error: { code, message } }));
}

export const retried = (drafts: Drafts, cid: string): Drafts =>
  replaced(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state: "sending" }));

export const undeliverable = (drafts: Drafts, error: Trouble): Drafts =>
  drafts.map((each) => (each.state === "sending" ? { ...each, state: "failed", error } : each));
