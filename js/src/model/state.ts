/** What a room looks like from here: the plain data that `store.ts` computes and the view draws. */

import type { Pending } from "./pending";
import {
  LIMITS,
  type Change,
  type ChangeFrame,
  type Draft,
  type Entry,
  type Limits,
  type Member,
  type Message,
  type MessageFrame,
  type Profile,
  type ServerFrame,
  type Status,
  type Trouble,
} from "../protocol/frames";

/** The one page that is being fetched; an answer with another `id` is for a list that is gone. */
export interface Request {
  readonly id: number;
  /** `tail`: the newest messages; `older`: those above the first; `log`: the raw entries up to `to`. */
  readonly kind: "tail" | "older" | "log";
  readonly to?: number;
}

/** How far this window's own line reaches: to a kernel that answers, is busy, or is gone. */
export type Link = "ok" | "busy" | "gone";

export interface Unread {
  /** The first message that nobody looked at: the divider stands above it. */
  readonly from: number | null;
  readonly count: number;
}

export interface State {
  readonly room: string;
  readonly user: string;
  /** The name the server writes for us where it isn't `user` (a named token). */
  readonly principal: string | null;

  readonly epoch: string | null;
  /** The seq of the last accepted entry. */
  readonly last: number;
  readonly oldest: number;
  readonly limits: Limits;
  /** Every message of the log from the first of these up to `last`, changes folded in. */
  readonly messages: readonly Message[];
  /** Nothing is older than `messages[0]`. */
  readonly complete: boolean;
  /** The first page has come (or the page's HTML brought it). */
  readonly loaded: boolean;
  readonly request: Request | null;
  readonly requests: number;
  /** A resume is under way: frames out of the chain are dropped until `synced`. */
  readonly resuming: boolean;
  /** Live frames that wait until the log page before them is in. */
  readonly held: readonly (MessageFrame | ChangeFrame)[];
  /** Changes that came while a page was being fetched and may be missing in it. */
  readonly late: readonly Change[];

  readonly pending: readonly Pending[];
  readonly members: readonly Member[];
  /** Names that were seen as kernels: their messages are marked. */
  readonly kernels: ReadonlySet<string>;
  /** How verified members looked when they were last seen, by name. */
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly status: Status;
  readonly link: Link;
  /** The last refusal that belongs to no draft. */
  readonly notice: Trouble | null;
  readonly attentive: boolean;
  readonly unread: Unread;
}

/** Everything that can happen to a room. */
export type Input =
  | ServerFrame
  | { readonly type: "snapshot"; readonly frames: readonly ServerFrame[] }
  | { readonly type: "page"; readonly id: number; readonly messages: readonly Message[]; readonly limit: number }
  | { readonly type: "log"; readonly id: number; readonly entries: readonly Entry[]; readonly limit: number }
  /** `final`: asking again won't help. */
  | { readonly type: "page-failed"; readonly id: number; readonly final: boolean }
  | { readonly type: "older" }
  | { readonly type: "draft"; readonly draft: Draft; readonly at: number }
  | { readonly type: "retry"; readonly cid: string }
  | { readonly type: "discard"; readonly cid: string }
  /** Nothing that is on its way will arrive: the connection is gone for good, or choked on it. */
  | { readonly type: "undeliverable"; readonly error: Trouble }
  | { readonly type: "link"; readonly link: Link }
  | { readonly type: "user"; readonly user: string }
  | { readonly type: "attention"; readonly on: boolean }
  | { readonly type: "dismiss" };

/** What `reduce` asks its caller to do. `delay` in milliseconds. */
export type Effect =
  | { readonly do: "send"; readonly draft: Draft; readonly delay: number }
  | { readonly do: "resume"; readonly after: number; readonly epoch: string | null }
  | {
      readonly do: "page";
      readonly id: number;
      readonly before: number | null;
      readonly limit: number;
      readonly delay: number;
    }
  | { readonly do: "log"; readonly id: number; readonly after: number; readonly limit: number; readonly delay: number };

export const PAGE = 50;
export const LOG_PAGE = 200;
/** A longer gap than this many seqs reloads the tail instead of paging the log. */
export const LONGEST_FILL = 1_000;
export const MAX_HELD = 1_000;
/** Somebody who reads the newest keeps at most this many messages; older ones are fetched again on scroll. */
export const KEEP = 2_000;
/** Milliseconds before a failed page is asked for again. */
export const PAGE_RETRY = 2_000;

export function initial(room: string, user = ""): State {
  return {
    room,
    user,
    principal: null,
    epoch: null,
    last: 0,
    oldest: 0,
    limits: LIMITS,
    messages: [],
    complete: false,
    loaded: false,
    request: null,
    requests: 0,
    resuming: false,
    held: [],
    late: [],
    pending: [],
    members: [],
    kernels: new Set(),
    profiles: new Map(),
    status: { type: "status", status: "connecting", error: null, retry_at: null, queued: 0 },
    link: "ok",
    notice: null,
    attentive: false,
    unread: { from: null, count: 0 },
  };
}

/** The state of a page whose HTML already brought the first messages; joining resumes from there. */
export function hydrated(
  room: string,
  user: string,
  from: { messages: readonly Message[]; epoch: string; seq: number; oldest: number },
): State {
  const first = from.messages[0];
  return {
    ...initial(room, user),
    epoch: from.epoch,
    last: from.seq,
    oldest: from.oldest,
    messages: from.messages,
    complete: first === undefined || first.seq <= from.oldest || from.messages.length < PAGE,
    loaded: true,
  };
}

/** The index of the first message whose seq is at least `seq`. */
export function indexOf(messages: readonly Message[], seq: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (messages[middle]!.seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function messageAt(messages: readonly Message[], seq: number): Message | undefined {
  const message = messages[indexOf(messages, seq)];
  return message?.seq === seq ? message : undefined;
}

export function isOwn(state: Pick<State, "user" | "principal">, user: string): boolean {
  return user === state.user || user === state.principal;
}
