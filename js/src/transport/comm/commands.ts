/** Commands of a window to its kernel: numbered, and repeated until acknowledged, because a comm may drop messages.
 *
 * A command that the kernel has processed (Jupyter reports it idle afterwards) and never acknowledges went to a kernel
 * that does not know this comm: it was restarted, possibly in another tab. marimo reports this sooner: it rejects
 * commands to a kernel that has ended, but not to a busy one.
 */

import type { PagePosition } from "../../model/state";
import type { ClientFrame } from "../../protocol/client-frames";
import type { Order } from "../../protocol/moderation";
import { isObject } from "../../protocol/schema";
import type { ChunkCommand } from "./attachments";

/** The part of anywidget's model that is used. */
export interface Model {
  get(name: string): unknown;
  /** Returns a promise in marimo, which is rejected if the kernel has ended or its server does not answer. */
  send(content: unknown, callbacks?: Callbacks, buffers?: readonly ArrayBuffer[]): unknown;
  on(event: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void;
  off(event: string, callback: (content: unknown, buffers?: readonly DataView[]) => void): void;
}

/** What Jupyter calls with the messages that the kernel publishes while it processes a command. marimo calls the object itself. */
export type Callbacks = (() => void) & { readonly iopub: { readonly status: (message: unknown) => void } };

export type CommCommand =
  | { readonly do: "open" | "ping" }
  | { readonly do: "frame"; readonly frame: ClientFrame }
  | ({ readonly do: "history"; readonly limit: number } & PagePosition)
  | { readonly do: "link"; readonly invite: boolean; readonly uses?: number; readonly minutes?: number }
  | { readonly do: "moderate"; readonly order?: Order["do"]; readonly user?: string; readonly minutes?: number }
  | { readonly do: "search"; readonly q: string; readonly limit: number }
  | ChunkCommand;

interface UnackedCommand {
  readonly command: CommCommand;
  readonly buffer: ArrayBuffer | undefined;
  readonly sentAt: number;
  resendAt: number;
  resendDelay: number;
  /** How often the kernel has processed it, and when last. */
  processed: number;
  processedAt: number;
}

/** A command that is not acknowledged for this long is waiting for a busy kernel. */
const BUSY_AFTER_MS = 1_000;
/** JupyterLab sends the first commands to the main thread, which the next cell may block, until it has a subshell. */
const FIRST_RESEND_DELAY_MS = 250;
const UPLOAD_RESEND_DELAY_MS = 3_000;
const MAX_RESEND_DELAY_MS = 30_000;
/** An acknowledgement follows within this time after the kernel has processed a command. */
const ACK_TIMEOUT_MS = 3_000;

export class CommandQueue {
  /** The number of the last command. */
  last = 0;
  readonly #model: Model;
  readonly #client: string;
  readonly #onRefused: () => void;
  readonly #unacked = new Map<number, UnackedCommand>();

  /** `onRefused` is called after a command has not reached a kernel. */
  constructor(model: Model, client: string, onRefused: () => void) {
    this.#model = model;
    this.#client = client;
    this.#onRefused = onRefused;
  }

  /** False if the comm is closed. */
  send(command: CommCommand, buffer?: ArrayBuffer): boolean {
    const k = ++this.last;
    const sentAt = Date.now();
    const resendDelay = buffer === undefined ? FIRST_RESEND_DELAY_MS : UPLOAD_RESEND_DELAY_MS;
    const times = { sentAt, resendAt: sentAt + resendDelay, resendDelay, processed: 0, processedAt: 0 };
    const unacked = { command, buffer, ...times };
    this.#unacked.set(k, unacked);
    if (this.#postCommand(k, unacked)) return true;
    this.#unacked.delete(k);
    return false;
  }

  /** Sends without a number, once. False if the comm is closed. */
  post(content: Readonly<Record<string, unknown>>, callbacks?: Callbacks, buffer?: ArrayBuffer): boolean {
    try {
      const buffers = buffer === undefined ? undefined : [buffer];
      const sent = this.#model.send({ client: this.#client, ...content }, callbacks, buffers);
      Promise.resolve(sent).catch(this.#onRefused);
      return true;
    } catch {
      return false;
    }
  }

  onAck(upTo: number): void {
    for (const k of [...this.#unacked.keys()]) if (k <= upTo) this.#unacked.delete(k);
  }

  /** False if the comm is closed. */
  resendOverdue(): boolean {
    const now = Date.now();
    for (const [k, unacked] of this.#unacked) {
      if (unacked.resendAt > now) continue;
      unacked.resendDelay = Math.min(unacked.resendDelay * 2, MAX_RESEND_DELAY_MS);
      unacked.resendAt = now + unacked.resendDelay;
      if (!this.#postCommand(k, unacked)) return false;
    }
    return true;
  }

  isEmpty(): boolean {
    return this.#unacked.size === 0;
  }

  isOpening(): boolean {
    return [...this.#unacked.values()].some(({ command }) => command.do === "open");
  }

  /** Whether something that the reader waits for has not been acknowledged for a while. */
  isBusy(): boolean {
    const overdue = Date.now() - BUSY_AFTER_MS;
    return [...this.#unacked.values()].some(({ command, sentAt }) => isAwaited(command) && sentAt <= overdue);
  }

  /** Whether the kernel does not know this comm: it processed a command twice (an acknowledgement may be lost). */
  isUnknown(): boolean {
    const overdue = Date.now() - ACK_TIMEOUT_MS;
    return [...this.#unacked.values()].some(({ processed, processedAt }) => processed > 1 && processedAt <= overdue);
  }

  clear(): void {
    this.#unacked.clear();
  }

  #postCommand(k: number, unacked: UnackedCommand): boolean {
    const status = (message: unknown): void => {
      if (!isObject(message) || !isObject(message.content) || message.content.execution_state !== "idle") return;
      unacked.processed += 1;
      unacked.processedAt = Date.now();
    };
    const callbacks = Object.assign(() => undefined, { iopub: { status } });
    return this.post({ k, ...unacked.command }, callbacks, unacked.buffer);
  }
}

/** Whether the reader waits for it: not that the kernel is there, or learns what they have read. */
const isAwaited = (command: CommCommand): boolean =>
  command.do !== "ping" && !(command.do === "frame" && command.frame.type === "chat.read");
