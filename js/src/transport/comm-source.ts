/** A room over the notebook's comm: the same frames, in numbered envelopes in both directions.
 *
 * Kernel to window: deltas with the number `n`; a missing one is answered by requesting a snapshot.
 * Window to kernel: commands with the number `k`, repeated until acknowledged, because a comm may drop messages.
 * The Python side is in `bqwidget/_widget`.
 */

import type { CommStatus } from "../model/state";
import type { Attachment } from "../protocol/attachments";
import type { ClientFrame } from "../protocol/client-frames";
import type { Entry, Message } from "../protocol/entries";
import { PageUnavailableError, RequestError } from "../protocol/errors";
import { asMessages } from "../protocol/guards";
import { asServerFrames } from "../protocol/guards";
import { isObject } from "../protocol/schema";
import type { ServerFrame } from "../protocol/server-frames";
import { fetchInChunks, uploadInChunks, type ChunkCommand, type Reply } from "./comm-attachments";
import type { OnProgress, Source, SourceEvents } from "./source";

/** The part of anywidget's model that is used. */
export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: readonly ArrayBuffer[]): void;
  on(event: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void;
  off(event: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void;
}

type Command =
  | { readonly do: "open" }
  | { readonly do: "frame"; readonly frame: ClientFrame }
  | { readonly do: "history"; readonly before: number | null; readonly limit: number }
  | ChunkCommand;

interface UnackedCommand {
  readonly command: Command;
  readonly buffer: ArrayBuffer | undefined;
  readonly sentAt: number;
  resendAt: number;
  resendDelay: number;
}

interface PendingReply {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** A command that is not acknowledged for this long is waiting for a busy kernel. */
const BUSY_AFTER_MS = 1_000;
const CHECK_INTERVAL_MS = 250;
const RESEND_DELAY_MS = 3_000;
const MAX_RESEND_DELAY_MS = 30_000;
/** Deltas can arrive out of order: a missing one has this long to arrive before a snapshot is requested. */
const REORDER_TIMEOUT_MS = 250;
const MAX_EARLY_DELTAS = 1_000;
const SEEN_INTERVAL_MS = 100;
const COMM_CLOSED = { code: "gone", message: "disconnected: run the cell again" };

export class CommSource implements Source {
  readonly #model: Model;
  readonly #client: string;
  #events: SourceEvents | null = null;
  #lastCommand = 0;
  readonly #unacked = new Map<number, UnackedCommand>();
  readonly #pendingReplies = new Map<number, PendingReply>();
  /** The number of the last delta that was dispatched; null until the first snapshot. */
  #lastDelta: number | null = null;
  readonly #earlyDeltas = new Map<number, unknown>();
  #status: CommStatus = "ok";
  #checkTimer: ReturnType<typeof setInterval> | undefined;
  #resyncTimer: ReturnType<typeof setTimeout> | undefined;
  #seenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, client: string) {
    this.#model = model;
    this.#client = client;
  }

  start(events: SourceEvents): void {
    this.#events = events;
    this.#model.on("msg:custom", this.#onEnvelope);
    this.#model.on("comm_live_update", this.#checkComm);
    this.#checkTimer = setInterval(() => this.#resendOverdue(), CHECK_INTERVAL_MS);
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

  async fetchPage(before: number | null, limit: number): Promise<Message[]> {
    const { envelope } = await this.#request({ do: "history", before, limit });
    return asMessages(envelope.messages);
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
    this.#events?.dispatch([{ type: "snapshot", frames: framesOf(snapshot) }]);
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
      this.#events?.dispatch(framesOf(frames));
    }
    if (this.#earlyDeltas.size === 0) this.#cancelResync();
  }

  #scheduleResync(delay: number): void {
    this.#resyncTimer ??= setTimeout(() => this.#requestSnapshot(), delay);
  }

  #cancelResync(): void {
    clearTimeout(this.#resyncTimer);
    this.#resyncTimer = undefined;
  }

  #requestSnapshot(): void {
    this.#cancelResync();
    const opening = [...this.#unacked.values()].some(({ command }) => command.do === "open");
    if (!opening) this.#sendCommand({ do: "open" });
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
    this.#seenTimer ??= setTimeout(() => {
      this.#seenTimer = undefined;
      if (this.#lastDelta !== null) this.#post({ client: this.#client, do: "seen", n: this.#lastDelta });
    }, SEEN_INTERVAL_MS);
  }

  // ---- window to kernel --------------------------------------------------------------------------

  #request(command: Command, buffer?: ArrayBuffer): Promise<Reply> {
    return new Promise((resolve, reject) => {
      // `#sendCommand` uses the next number, and a reply never arrives before it returns.
      const k = this.#lastCommand + 1;
      if (this.#sendCommand(command, buffer)) this.#pendingReplies.set(k, { resolve, reject });
      else reject(new PageUnavailableError(COMM_CLOSED.message));
    });
  }

  #sendCommand(command: Command, buffer?: ArrayBuffer): boolean {
    if (this.#events === null) return false;
    const k = ++this.#lastCommand;
    const sentAt = Date.now();
    const resendDelay = RESEND_DELAY_MS;
    this.#unacked.set(k, { command, buffer, sentAt, resendAt: sentAt + resendDelay, resendDelay });
    if (this.#post({ client: this.#client, k, ...command }, buffer)) return true;
    this.#unacked.delete(k);
    return false;
  }

  #post(content: unknown, buffer?: ArrayBuffer): boolean {
    try {
      if (buffer === undefined) this.#model.send(content);
      else this.#model.send(content, undefined, [buffer]);
      return true;
    } catch {
      this.#onClosed();
      return false;
    }
  }

  #onAck(upTo: number): void {
    for (const k of [...this.#unacked.keys()]) if (k <= upTo) this.#unacked.delete(k);
    // The kernel received `open`, but Jupyter may have dropped the snapshot, and no delta would reveal that.
    if (this.#lastDelta === null) this.#scheduleResync(RESEND_DELAY_MS);
    this.#setStatus(this.#isBusy() ? "busy" : "ok");
  }

  /** Sends overdue commands again, and reports a kernel that is busy. */
  #resendOverdue(): void {
    if (this.#status === "gone") return;
    const now = Date.now();
    for (const [k, unacked] of this.#unacked) {
      if (unacked.resendAt > now) continue;
      unacked.resendDelay = Math.min(unacked.resendDelay * 2, MAX_RESEND_DELAY_MS);
      unacked.resendAt = now + unacked.resendDelay;
      if (!this.#post({ client: this.#client, k, ...unacked.command }, unacked.buffer)) return;
    }
    if (this.#isBusy()) this.#setStatus("busy");
  }

  #isBusy(): boolean {
    const now = Date.now();
    return [...this.#unacked.values()].some(({ sentAt }) => now - sentAt >= BUSY_AFTER_MS);
  }

  readonly #checkComm = (): void => {
    this.#post({ client: this.#client, do: "seen", n: this.#lastDelta ?? 0 });
  };

  #onClosed(): void {
    this.#setStatus("gone");
    this.#unacked.clear();
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

/** The frames of an envelope; a status gives the time of the next attempt by the kernel's clock, which may be wrong. */
function framesOf(value: unknown): ServerFrame[] {
  return asServerFrames(value).map((frame) => {
    if (frame.type !== "status" || frame.retry_at === null || frame.now === undefined) return frame;
    return { ...frame, retry_at: frame.retry_at - frame.now + Date.now() };
  });
}
