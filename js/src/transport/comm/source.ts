/** A room over the notebook's comm: the same frames, in numbered envelopes in both directions.
 *
 * Kernel to window: deltas with the number `n`; a missing one is answered by requesting a snapshot.
 * Window to kernel: commands with the number `k` (`comm-commands.ts`).
 * The Python side is in `bqwidget/_widget`.
 */

import type { CommStatus, PagePosition } from "../../model/state";
import type { Attachment } from "../../protocol/attachments";
import type { ClientFrame } from "../../protocol/client-frames";
import type { Entry, Message } from "../../protocol/entries";
import { PageUnavailableError, RequestError, UNREADABLE } from "../../protocol/errors";
import { asMessages, asModeration, asServerFrames } from "../../protocol/guards";
import { newId } from "../../protocol/ids";
import type { Moderation, Order } from "../../protocol/moderation";
import type { Invite } from "../../protocol/rooms";
import { isObject } from "../../protocol/schema";
import type { ServerFrame } from "../../protocol/server-frames";
import { fetchInChunks, uploadInChunks, type Reply } from "./attachments";
import { CommandQueue, type CommCommand, type Model } from "./commands";
import { jupyterOption } from "../jupyter-option";
import type { OnProgress, Source, SourceEvents } from "../source";

interface PendingReply {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

const CHECK_INTERVAL_MS = 250;
/** The kernel has acknowledged `open`: its snapshot follows within this time. */
const SNAPSHOT_TIMEOUT_MS = 3_000;
/** Deltas can arrive out of order: a missing one has this long to arrive before a snapshot is requested. */
const REORDER_TIMEOUT_MS = 250;
const MAX_EARLY_DELTAS = 1_000;
const SEEN_INTERVAL_MS = 100;
/** Jupyter publishes two messages for each acknowledgement, and the kernel waits for one after 40 envelopes. */
const ENVELOPES_PER_SEEN = 10;
/** After this long without an envelope, a ping asks whether the kernel still knows this comm. */
const PING_INTERVAL_MS = 10_000;
/** After a command was refused, which may be because of the network. */
const REOPEN_INTERVAL_MS = 30_000;
const COMM_CLOSED = { code: "gone", message: "disconnected: run the cell again" };

export class CommSource implements Source {
  readonly #model: Model;
  #client: string;
  #events: SourceEvents | null = null;
  #commands: CommandQueue;
  readonly #pendingReplies = new Map<number, PendingReply>();
  /** The number of the last delta that was dispatched; null until the first snapshot. */
  #lastDelta: number | null = null;
  readonly #earlyDeltas = new Map<number, unknown>();
  /** The envelope that was acknowledged last; null: none since the snapshot. */
  #lastSeen: number | null = null;
  #status: CommStatus = "ok";
  #receivedAt = 0;
  #reopenAt = Infinity;
  /** The room is closed: the kernel acknowledges nothing any more. */
  #closed = false;
  #checkTimer: ReturnType<typeof setInterval> | undefined;
  #resyncTimer: ReturnType<typeof setTimeout> | undefined;
  #seenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, client: string) {
    this.#model = model;
    this.#client = client;
    this.#commands = new CommandQueue(model, client, this.#onRefused);
  }

  start(events: SourceEvents): void {
    this.#events = events;
    this.#model.on("msg:custom", this.#onEnvelope);
    this.#model.on("comm_live_update", this.#checkComm);
    this.#checkTimer = setInterval(() => this.#check(), CHECK_INTERVAL_MS);
    this.#sendCommand({ do: "open" });
  }

  stop(): void {
    this.#events = null;
    this.#model.off("msg:custom", this.#onEnvelope);
    this.#model.off("comm_live_update", this.#checkComm);
    clearInterval(this.#checkTimer);
    clearTimeout(this.#resyncTimer);
    clearTimeout(this.#seenTimer);
    this.#rejectReplies("the window was closed");
  }

  send(frame: ClientFrame): boolean {
    return this.#sendCommand({ do: "frame", frame });
  }

  resume(): void {
    this.#requestSnapshot();
  }

  async fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    const { envelope } = await this.#request({ do: "history", ...position, limit });
    return asMessages(envelope.messages);
  }

  async search(words: string, limit: number): Promise<Message[]> {
    const { envelope } = await this.#request({ do: "search", q: words, limit });
    return asMessages(envelope.messages);
  }

  async fetchLink(invite: Invite | null): Promise<string> {
    const { envelope } = await this.#request({ do: "link", invite: invite !== null, ...invite });
    if (typeof envelope.url !== "string") throw new PageUnavailableError("no link");
    return inJupyter(envelope.url);
  }

  async moderate(order: Order | null): Promise<Moderation> {
    const { envelope } = await this.#request({ ...order, do: "moderate", ...(order !== null && { order: order.do }) });
    return asModeration(envelope.moderation) ?? Promise.reject(new RequestError(UNREADABLE));
  }

  fetchLog(): Promise<Entry[]> {
    return Promise.reject(new PageUnavailableError("the kernel fills its own gaps"));
  }

  fetchAttachment({ sha256 }: Attachment, signal: AbortSignal): Promise<Blob> {
    return fetchInChunks((command) => this.#request(command), sha256, signal);
  }

  uploadAttachment(file: Blob, mime: string, onProgress: OnProgress, signal: AbortSignal): Promise<Attachment> {
    return uploadInChunks((command, buffer) => this.#request(command, buffer), file, mime, onProgress, signal);
  }

  // ---- kernel to window --------------------------------------------------------------------------

  readonly #onEnvelope = (envelope: unknown, buffers: readonly DataView[] = []): void => {
    if (!isObject(envelope) || this.#events === null) return;
    if ("to" in envelope && envelope.to !== this.#client) return;
    this.#receivedAt = Date.now();
    if (this.#status === "gone") {
      if (!this.#commands.isOpening()) this.#reopen();
      this.#setStatus("ok");
    }
    const { n, ack, reply, snapshot } = envelope;
    if (typeof ack === "number") this.#onAck(ack);
    else if (typeof reply === "number") this.#onReply(reply, { envelope, buffers });
    else if (typeof n === "number") {
      if (snapshot === undefined) this.#onDelta(n, envelope.frames);
      else this.#onSnapshot(n, snapshot);
      this.#scheduleSeen();
    }
  };

  #onSnapshot(n: number, snapshot: unknown): void {
    this.#cancelResync();
    this.#lastDelta = n;
    this.#lastSeen = null;
    this.#events?.dispatch([{ type: "snapshot", frames: this.#framesOf(snapshot) }]);
    for (const early of [...this.#earlyDeltas.keys()]) if (early <= n) this.#earlyDeltas.delete(early);
    this.#dispatchInOrder();
  }

  #onDelta(n: number, frames: unknown): void {
    if (this.#lastDelta !== null && n <= this.#lastDelta) return;
    if (this.#earlyDeltas.size < MAX_EARLY_DELTAS) this.#earlyDeltas.set(n, frames);
    if (this.#lastDelta === null) return;
    this.#dispatchInOrder();
    if (this.#earlyDeltas.size > 0) this.#scheduleResync(REORDER_TIMEOUT_MS);
  }

  #dispatchInOrder(): void {
    while (this.#lastDelta !== null && this.#earlyDeltas.has(this.#lastDelta + 1)) {
      this.#lastDelta += 1;
      const frames = this.#earlyDeltas.get(this.#lastDelta);
      this.#earlyDeltas.delete(this.#lastDelta);
      this.#events?.dispatch(this.#framesOf(frames));
    }
    if (this.#earlyDeltas.size === 0) this.#cancelResync();
  }

  /** A status gives the time of the next attempt by the kernel's clock, which may be wrong. */
  #framesOf(value: unknown): ServerFrame[] {
    return asServerFrames(value).map((frame) => {
      if (frame.type !== "status") return frame;
      this.#closed = frame.status === "closed";
      if (frame.retry_at === null || frame.now === undefined) return frame;
      return { ...frame, retry_at: frame.retry_at - frame.now + Date.now() };
    });
  }

  #scheduleResync(delay: number): void {
    this.#resyncTimer ??= setTimeout(() => this.#requestSnapshot(), delay);
  }

  #cancelResync(): void {
    clearTimeout(this.#resyncTimer);
    this.#resyncTimer = undefined;
  }

  /** As a new browser: the kernel waits for the commands of the old one, which are dropped, before it executes others. */
  #reopen(): void {
    this.#reopenAt = Infinity;
    this.#client = newId();
    this.#commands = new CommandQueue(this.#model, this.#client, this.#onRefused);
    this.#lastDelta = null;
    this.#earlyDeltas.clear();
    this.#requestSnapshot();
  }

  #requestSnapshot(): void {
    this.#cancelResync();
    if (!this.#commands.isOpening()) this.#sendCommand({ do: "open" });
  }

  #onReply(k: number, reply: Reply): void {
    const pending = this.#pendingReplies.get(k);
    this.#pendingReplies.delete(k);
    const { error } = reply.envelope;
    if (!isObject(error)) pending?.resolve(reply);
    else pending?.reject(new RequestError({ code: String(error.code), message: String(error.message) }));
  }

  /** Flow control: the kernel waits for `seen`, so that it does not flood a slow window. */
  #scheduleSeen(): void {
    if (this.#lastDelta === null) return;
    if (this.#lastSeen !== null && this.#lastDelta - this.#lastSeen < ENVELOPES_PER_SEEN) return;
    this.#seenTimer ??= setTimeout(() => {
      this.#seenTimer = undefined;
      this.#lastSeen = this.#lastDelta;
      this.#posted(this.#commands.post({ do: "seen", n: this.#lastDelta }));
    }, SEEN_INTERVAL_MS);
  }

  // ---- window to kernel --------------------------------------------------------------------------

  #request(command: CommCommand, buffer?: ArrayBuffer): Promise<Reply> {
    return new Promise((resolve, reject) => {
      // `send` uses the next number, and a reply never arrives before it returns.
      const k = this.#commands.last + 1;
      if (this.#sendCommand(command, buffer)) this.#pendingReplies.set(k, { resolve, reject });
      else reject(new PageUnavailableError(COMM_CLOSED.message));
    });
  }

  #sendCommand(command: CommCommand, buffer?: ArrayBuffer): boolean {
    return this.#events !== null && this.#posted(this.#commands.send(command, buffer));
  }

  #posted(posted: boolean): boolean {
    if (!posted) this.#onClosed();
    return posted;
  }

  #onAck(upTo: number): void {
    this.#commands.onAck(upTo);
    // The kernel received `open`, but Jupyter may have dropped the snapshot, and no delta would reveal that.
    if (this.#lastDelta === null) this.#scheduleResync(SNAPSHOT_TIMEOUT_MS);
    this.#setStatus(this.#commands.isBusy() ? "busy" : "ok");
  }

  /** Sends overdue commands again, and reports a kernel that is busy or does not know this comm. */
  #check(): void {
    if (this.#status === "gone") return this.#reopenAt <= Date.now() ? this.#reopen() : undefined;
    const quiet = Date.now() - this.#receivedAt >= PING_INTERVAL_MS && !this.#closed;
    if (quiet && this.#commands.isEmpty()) this.#sendCommand({ do: "ping" });
    if (this.#commands.isUnknown() && !this.#closed) return this.#onClosed();
    if (this.#posted(this.#commands.resendOverdue()) && this.#commands.isBusy()) this.#setStatus("busy");
  }

  readonly #checkComm = (): void => {
    this.#posted(this.#commands.post({ do: "seen", n: this.#lastDelta ?? 0 }));
  };

  readonly #onRefused = (): void => {
    if (this.#events === null || this.#closed) return;
    this.#reopenAt = Date.now() + REOPEN_INTERVAL_MS;
    this.#onClosed();
  };

  #onClosed(): void {
    this.#setStatus("gone");
    this.#commands.clear();
    this.#rejectReplies(COMM_CLOSED.message);
    this.#events?.dispatch([{ type: "undeliverable", error: COMM_CLOSED }]);
  }

  #rejectReplies(reason: string): void {
    for (const { reject } of this.#pendingReplies.values()) reject(new PageUnavailableError(reason));
    this.#pendingReplies.clear();
  }

  #setStatus(status: CommStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#events?.dispatch([{ type: "comm", status }]);
  }
}

/** A room's address in this Jupyter: as the browser reaches it, which may be by a proxy that the kernel does not know. */
function inJupyter(url: string): string {
  const [, room] = /\/bqserver(\/rooms\/[\w-]+)$/.exec(url) ?? [];
  if (room === undefined || jupyterOption("bqserver") !== "true") return url;
  return new URL(`${jupyterOption("baseUrl")}bqserver${room}`, location.href).href;
}
