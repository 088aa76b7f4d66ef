/** The state of a room as plain data: `reduce` computes it, the view renders it. */

import type { Draft } from "../protocol/client-frames";
import type { Change, Entry, Message } from "../protocol/entries";
import { isMadeBy, newClientId } from "../protocol/ids";
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits";
import type { AppendFrame, ChangeFrame, ErrorInfo, Member, MessageFrame } from "../protocol/server-frames";
import type { Profile, ServerFrame, Status } from "../protocol/server-frames";
import type { PendingDraft } from "./pending";
import { NOTHING_READ, type KeptPosition, type Reading } from "./reading";
import { NO_UNREAD, type Unread } from "./unread";

/** The one page that is being fetched; a result with another `id` belongs to an earlier list and is ignored. */
export interface PageRequest {
  readonly id: number;
  /** `tail`: the newest messages; `older`: the messages before the first one; `log`: the raw entries up to `to`. */
  readonly kind: "tail" | "older" | "log";
  readonly to?: number;
}

/** Where a page of messages is: the last ones before a seq, the first ones after it, those around it or around a time.
 *
 * A time is in milliseconds since the epoch. Without any of these: the newest ones.
 */
export interface PagePosition {
  readonly before?: number;
  readonly after?: number;
  readonly around?: number;
  readonly at?: number;
  /** Only the pinned ones. */
  readonly pinned?: 1;
}

/** The pinned messages, in the order in which they were pinned. */
export interface Pins {
  readonly messages: readonly Message[];
  /** The id of the page that is being fetched. */
  readonly request: number | null;
  /** They have changed since that was asked for. */
  readonly stale: boolean;
}

/** A change of the log, or a piece of a live message that is not in the log yet. */
export type Update = Change | AppendFrame;

/** The notebook's comm: the kernel acknowledges commands, is slow to do so, or the comm is closed. */
export type CommStatus = "ok" | "busy" | "gone";

/** A window of this room, by identity: one room may have several. */
export type View = object;

/** What one view shows after its reader went to a message: a stretch of the log before the newest messages. */
export interface Excerpt {
  /** All messages of the log from the first of these to the last; null: the view shows the newest messages. */
  readonly messages: readonly Message[] | null;
  /** The log has no message before the first of `messages`. */
  readonly complete: boolean;
  /** The page that is being fetched. `refresh`: the same messages again, because changes of them may be missing. */
  readonly request: {
    readonly id: number;
    readonly kind: "jump" | "refresh" | "older" | "newer";
    readonly position: PagePosition;
  } | null;
  /** The message to which the reader went, a new object each time. */
  readonly target: { readonly seq: number } | null;
}

export interface State {
  readonly room: string;
  readonly user: string;
  /** The verified name under which the server stores our messages; null if it uses `user`. */
  readonly principal: string | null;
  /** What the reader may do: "read", "write" or "moderate". */
  readonly role: string;
  /** How people get in with the address from the reader: `Hello.share`, or "". */
  readonly share: string;
  /** The ids of this browser and, in a notebook, its kernel: the cids of what they send contain them. */
  readonly clients: readonly string[];

  readonly epoch: string | null;
  /** The seq of the last accepted entry. */
  readonly lastSeq: number;
  readonly oldestSeq: number;
  readonly limits: Limits;
  /** The server's clock minus the reader's, in milliseconds: questions end by the server's. */
  readonly clockOffset: number;
  /** All messages of the log from `messages[0]` to `lastSeq`, with their changes folded in.
   *
   * A live message has at least the text of the log, and beyond it the pieces that are not in the log yet.
   */
  readonly messages: readonly Message[];
  /** The log has no message before `messages[0]`. */
  readonly complete: boolean;
  /** The first page has arrived, or came with the page's HTML. */
  readonly loaded: boolean;
  readonly request: PageRequest | null;
  readonly requestCount: number;
  /** A resume was sent: entries that do not follow `lastSeq` are dropped until `synced`. */
  readonly resuming: boolean;
  /** Frames that wait for the log page with the entries before them. */
  readonly heldFrames: readonly (MessageFrame | ChangeFrame | AppendFrame)[];
  /** What arrived while a page was being fetched, and may be missing in it. */
  readonly lateUpdates: readonly Update[];
  /** What views show that were moved to a message; the other views show `messages`. */
  readonly excerpts: ReadonlyMap<View, Excerpt>;
  readonly pins: Pins;
  /** The live messages whose authors were asked to stop. */
  readonly stopping: ReadonlySet<number>;

  readonly pending: readonly PendingDraft[];
  readonly members: readonly Member[];
  /** The reader's `id` among them; null if the server gives none. */
  readonly member: string | null;
  /** The names of all kernels seen so far: their messages are marked. */
  readonly kernels: ReadonlySet<string>;
  /** The last known profiles of verified members, by name. */
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly status: Status;
  readonly comm: CommStatus;
  /** The last error that belongs to no draft. */
  readonly notice: ErrorInfo | null;
  /** The reader sees the newest message. */
  readonly latestVisible: boolean;
  readonly unread: Unread;
  readonly reading: Reading;
}

/** Everything that can happen to a room. */
export type Input =
  | ServerFrame
  | { readonly type: "snapshot"; readonly frames: readonly ServerFrame[] }
  | { readonly type: "page"; readonly id: number; readonly messages: readonly Message[]; readonly limit: number }
  | { readonly type: "log"; readonly id: number; readonly entries: readonly Entry[]; readonly limit: number }
  /** `permanent`: a retry would fail too. */
  | { readonly type: "page-failed"; readonly id: number; readonly permanent: boolean; readonly message: string }
  | { readonly type: "older" | "newer" | "latest"; readonly view: View }
  /** Shows the message `around`, or the first one since the time `at`, to the reader of a view. */
  | { readonly type: "jump"; readonly view: View; readonly to: PagePosition }
  | { readonly type: "draft"; readonly draft: Draft; readonly at: number }
  | { readonly type: "retry"; readonly cid: string }
  | { readonly type: "discard"; readonly cid: string }
  /** No draft that is being sent will arrive: the connection has ended, or the server could not read it. */
  | { readonly type: "undeliverable"; readonly error: ErrorInfo }
  | { readonly type: "comm"; readonly status: CommStatus }
  | { readonly type: "user"; readonly user: string }
  | { readonly type: "visibility"; readonly visible: boolean }
  | { readonly type: "dismiss" };

/** What the caller of `reduce` has to do. `delay` in milliseconds. */
export type Effect =
  | { readonly do: "send"; readonly draft: Draft; readonly delay: number }
  /** Keep that everything up to `seq` is read: on the server, or in this browser. */
  | { readonly do: "read"; readonly seq: number }
  | { readonly do: "resume"; readonly after: number; readonly epoch: string | null }
  | {
      readonly do: "page";
      readonly id: number;
      readonly position: PagePosition;
      readonly limit: number;
      readonly delay: number;
    }
  | { readonly do: "log"; readonly id: number; readonly after: number; readonly limit: number; readonly delay: number };

export const PAGE_SIZE = 50;
export const LOG_PAGE_SIZE = 200;
/** After a longer gap the newest messages are loaded instead of all that were missed. */
export const MAX_GAP_SEQS = 1_000;
export const MAX_HELD_FRAMES = 1_000;
/** While the newest message is visible, older messages than these are dropped, and fetched again on scroll. */
export const KEPT_MESSAGES = 2_000;
export const PAGE_RETRY_DELAY_MS = 2_000;

export function initialState(
  room: string,
  user = "",
  clients: readonly string[] = [newClientId()],
  kept: KeptPosition | null = null,
): State {
  return {
    room,
    user,
    principal: null,
    role: "write",
    share: "",
    clients,
    epoch: null,
    lastSeq: 0,
    oldestSeq: 0,
    limits: DEFAULT_LIMITS,
    clockOffset: 0,
    messages: [],
    complete: false,
    loaded: false,
    request: null,
    requestCount: 0,
    resuming: false,
    heldFrames: [],
    lateUpdates: [],
    excerpts: new Map(),
    pins: { messages: [], request: null, stale: false },
    stopping: new Set(),
    pending: [],
    members: [],
    member: null,
    kernels: new Set(),
    profiles: new Map(),
    status: { type: "status", status: "connecting", error: null, retry_at: null, queued: 0 },
    comm: "ok",
    notice: null,
    latestVisible: false,
    unread: NO_UNREAD,
    reading: { ...NOTHING_READ, kept },
  };
}

/** The state of a page whose HTML contains the newest messages; joining resumes after them. */
export function hydratedState(
  state: State,
  from: { messages: readonly Message[]; epoch: string; seq: number; oldest: number },
): State {
  const first = from.messages[0];
  return {
    ...state,
    epoch: from.epoch,
    lastSeq: from.seq,
    oldestSeq: from.oldest,
    messages: from.messages,
    complete: first === undefined || first.seq <= from.oldest || from.messages.length < PAGE_SIZE,
    loaded: true,
  };
}

/** The index of the first message whose seq is at least `seq`. */
export function indexOfSeq(messages: readonly Message[], seq: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (messages[middle]!.seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function messageBySeq(messages: readonly Message[], seq: number): Message | undefined {
  const message = messages[indexOfSeq(messages, seq)];
  return message?.seq === seq ? message : undefined;
}

export const isOwnName = ({ user, principal }: State, name: string): boolean => name === user || name === principal;

/** Whether the reader wrote it. Several people may use one unverified name: then the sender's id decides. */
export function isOwn(state: State, { user, verified, cid }: Message): boolean {
  if (!isOwnName(state, user)) return false;
  if (state.principal !== null || verified) return state.principal !== null && verified === true;
  return cid !== undefined && state.clients.some((client) => isMadeBy(cid, client));
}
