/** The drafts that are being sent, until their entries are in the list: pure functions over an array. */

import type { Draft } from "../protocol/client-frames";
import type { Entry } from "../protocol/entries";
import type { Ack, ErrorFrame, ErrorInfo } from "../protocol/server-frames";

/** A draft on its way into the log, or rejected. Retries keep the cid, so that none is written twice. */
export interface PendingDraft {
  readonly cid: string;
  readonly draft: Draft;
  readonly at: number;
  readonly state: "sending" | "failed";
  /** Why it failed or waits. */
  readonly error?: ErrorInfo;
  /** Acknowledged under this seq; the entry has not arrived yet. */
  readonly seq?: number;
}

type Drafts = readonly PendingDraft[];

const update = (drafts: Drafts, cid: string, change: (found: PendingDraft) => PendingDraft): Drafts =>
  drafts.map((each) => (each.cid === cid ? change(each) : each));

export const find = (drafts: Drafts, cid: string | undefined): PendingDraft | undefined =>
  drafts.find((each) => each.cid === cid);

export const without = (drafts: Drafts, cid: string): Drafts => drafts.filter((each) => each.cid !== cid);

/** The drafts that every new connection has to send again, under the same cid. */
export const unacknowledged = (drafts: Drafts): Drafts =>
  drafts.filter(({ state, seq }) => state === "sending" && seq === undefined);

/** `lastSeq`: the list already holds everything up to it. */
export function acknowledged(drafts: Drafts, { cid, seq }: Ack, lastSeq: number): Drafts {
  if (seq <= lastSeq) return without(drafts, cid);
  return update(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state: "sending", seq }));
}

/** Removes the draft of `entry`, which is now in the list. */
export function confirmed(drafts: Drafts, entry: Entry): Drafts {
  const rest = drafts.filter(({ cid, seq }) => cid !== entry.cid && (seq === undefined || seq > entry.seq));
  return rest.length === drafts.length ? drafts : rest;
}

/** Removes the drafts acknowledged up to `lastSeq`, whose entries were skipped by a reload. */
export const confirmedUpTo = (drafts: Drafts, lastSeq: number): Drafts =>
  drafts.filter(({ seq }) => seq === undefined || seq > lastSeq);

/** Rejected permanently, or with `retry_ms` only for now. */
export function rejected(drafts: Drafts, { cid = "", code, message, field, retry_ms }: ErrorFrame): Drafts {
  const state = retry_ms === undefined ? "failed" : "sending";
  return update(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state, error: { code, message, ...(field !== undefined && { field }) } }));
}

export const retried = (drafts: Drafts, cid: string): Drafts =>
  update(drafts, cid, ({ draft, at }) => ({ cid, draft, at, state: "sending" }));

export const allFailed = (drafts: Drafts, error: ErrorInfo): Drafts =>
  drafts.map((each) => (each.state === "sending" ? { ...each, state: "failed", error } : each));
