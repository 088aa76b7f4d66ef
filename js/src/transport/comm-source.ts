/** A room over the notebook's comm: the same frames in numbered envelopes, both ways.
 *
 * Kernel to window: deltas numbered `n`; one that is missing asks for a snapshot. Window to kernel:
 * commands numbered `k`, kept until acknowledged and repeated, because a comm may drop what it likes.
 * The Python half is `bqwidget/widget.py`.
 */

import { asMessages, asServerFrame, isObject } from "../protocol/guards";
import type { ClientFrame, Entry, Message, Part, ServerFrame } from "../protocol/frames";
import { NoSuchPage, Refused, type Sink, type Source } from "./source";
import type { Link } from "../model/state";
import { fetchInPieces, putInPieces, type PieceCommand, type Reply } from "./comm-attachments";

/** What is used of anywidget's model. */
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
  | PieceCommand;

interface Unacked {
  readonly command: Command;
  readonly buffer: ArrayBuffer | undefined;
  readonly since: number;
  again: number;
  delay: number;
}

interface Asked {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** Unacknowledged for this long, a command waits for a busy kernel. */
const BUSY = 1_000;
const RESEND = 3_000;
const RESEND_LONGEST = 30_000;
/** A delta may overtake another on its way; this long one waits before asking for a snapshot. */
const REORDER = 250;
const SEEN_EVERY = 100;
const GONE = { code: "gone", message: "disconnected: run the cell again" };

export class CommSource implements Source {
  readonly #model: Model;
  readonly #client: string;
  #sink: Sink | null = null;
  #k = 0;
  readonly #unacked = new Map<number, Unacked>();
  readonly #asked = new Map<number, Asked>();
  /** The number of the last delta taken; null until a snapshot says where they go on. */
  #n: number | null = null;
  readonly #early = new Map<number, unknown>();
  #link: Link = "ok";
  #tick: ReturnType<typeof setInterval> | undefined;
  #resync: ReturnType<typeof setTimeout> | undefined;
  #seen: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, client: string) {
    this.#model = model;
    this.#client = client;
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#model.on("msg:custom", this.#hear);
    this.#model.on("comm_live_update", this.#probe);
    this.#tick = setInterval(() => this.#chase(), 250);
    this.#command({ do: "open" });
  }

  stop(): void {
    this.#sink = null;
    this.#model.off("msg:custom", this.#hear);
    this.#model.off("comm_live_update", this.#probe);
    clearInterval(this.#tick);
    clearTimeout(this.#resync);
    clearTimeout(this.#seen);
    for (const asked of this.#asked.values()) asked.reject(new NoSuchPage("the window was closed"));
    this.#asked.clear();
  }

  send(frame: ClientFrame): boolean {
    return this.#command({ do: "frame", frame });
  }

  resume(): void {
    this.#reopen();
  }

  async page(before: number | null, limit: number): Promise<Message[]> {
    const { envelope } = await this.#ask({ do: "history", before, limit });
    return asMessages(envelope.messages);
  }

  log(): Promise<Entry[]> {
    return Promise.reject(new NoSuchPage("the kernel fills its own gaps"));
  }

  fetchPart({ sha256 }: Part, signal: AbortSignal): Promise<Blob> {
    return fetchInPieces((command) => this.#ask(command), sha256, signal);
  }

  putPart(file: Blob, mime: string, progress: (share: number) => void, signal: AbortSignal): Promise<Part> {
    return putInPieces((command, buffer) => this.#ask(command, buffer), file, mime, progress, signal);
  }

  // ---- kernel to window --------------------------------------------------------------------------

  readonly #hear = (envelope: unknown, buffers: readonly DataView[] = []): void => {
    if (!isObject(envelope) || this.#sink === null) return;
    if ("to" in envelope && envelope.to !== this.#client) return;
    const { n, ack, reply, snapshot } = envelope;
    if (typeof ack === "number") this.#acked(ack);
    else if (typeof reply === "number") this.#replied(reply, { envelope, buffers });
    else if (typeof n === "number") {
      if (snapshot === undefined) this.#delta(n, envelope.frames);
      else this.#restart(n, snapshot);
      this.#tellSeen();
    }
  };

  #restart(n: number, snapshot: unknown): void {
    clearTimeout(this.#resync);
    this.#resync = undefined;
    this.#n = n;
    this.#sink?.take([{ type: "snapshot", frames: asFrames(snapshot) }]);
    for (const early of [...this.#early.keys()]) if (early <= n) this.#early.delete(early);
    this.#drain();
  }

  #delta(n: number, frames: unknown): void {
    if (this.#n !== null && n <= this.#n) return;
    if (this.#early.size < 1_000) this.#early.set(n, frames);
    if (this.#n === null) return;
    this.#drain();
    if (this.#early.size > 0) this.#resync ??= setTimeout(() => this.#reopen(), REORDER);
  }

  #drain(): void {
    while (this.#n !== null && this.#early.has(this.#n + 1)) {
      this.#n += 1;
      const frames = this.#early.get(this.#n);
      this.#early.delete(this.#n);
      this.#sink?.take(asFrames(frames));
    }
    if (this.#early.size === 0) {
      clearTimeout(this.#resync);
      this.#resync = undefined;
    }
  }

  #reopen(): void {
    clearTimeout(this.#resync);
    this.#resync = undefined;
    const opening = [...this.#unacked.values()].some(({ command }) => command.do === "open");
    if (!opening) this.#command({ do: "open" });
  }

  #replied(k: number, reply: Reply): void {
    const asked = this.#asked.get(k);
    this.#asked.delete(k);
    const { error } = reply.envelope;
    if (!isObject(error)) asked?.resolve(reply);
    else asked?.reject(new Refused({ code: String(error.code), message: String(error.message) }));
  }

  /** Flow control: a kernel that isn't told waits, so a window that can't keep up is not flooded. */
  #tellSeen(): void {
    this.#seen ??= setTimeout(() => {
      this.#seen = undefined;
      if (this.#n !== null) this.#post({ client: this.#client, do: "seen", n: this.#n });
    }, SEEN_EVERY);
  }

  // ---- window to kernel --------------------------------------------------------------------------

  #ask(command: Command, buffer?: ArrayBuffer): Promise<Reply> {
    return new Promise((resolve, reject) => {
      // Numbers are given in order, and an answer never comes before `send` returns.
      const k = this.#k + 1;
      if (this.#command(command, buffer)) this.#asked.set(k, { resolve, reject });
      else reject(new NoSuchPage(GONE.message));
    });
  }

  #command(command: Command, buffer?: ArrayBuffer): boolean {
    if (this.#sink === null) return false;
    const k = ++this.#k;
    const now = Date.now();
    this.#unacked.set(k, { command, buffer, since: now, again: now + RESEND, delay: RESEND });
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
      this.#lost();
      return false;
    }
  }

  #acked(upTo: number): void {
    for (const k of [...this.#unacked.keys()]) if (k <= upTo) this.#unacked.delete(k);
    // Our open arrived, but Jupyter may have dropped its answer, and no delta would tell.
    if (this.#n === null) this.#resync ??= setTimeout(() => this.#reopen(), RESEND);
    this.#say(this.#waits() ? "busy" : "ok");
  }

  /** Repeats what was not acknowledged, and says so when the kernel takes its time. */
  #chase(): void {
    if (this.#link === "gone") return;
    const now = Date.now();
    for (const [k, waiting] of this.#unacked) {
      if (waiting.again > now) continue;
      waiting.delay = Math.min(waiting.delay * 2, RESEND_LONGEST);
      waiting.again = now + waiting.delay;
      if (!this.#post({ client: this.#client, k, ...waiting.command }, waiting.buffer)) return;
    }
    if (this.#waits()) this.#say("busy");
  }

  #waits(): boolean {
    const now = Date.now();
    return [...this.#unacked.values()].some(({ since }) => now - since >= BUSY);
  }

  readonly #probe = (): void => {
    this.#post({ client: this.#client, do: "seen", n: this.#n ?? 0 });
  };

  #lost(): void {
    this.#say("gone");
    this.#unacked.clear();
    for (const asked of this.#asked.values()) asked.reject(new NoSuchPage(GONE.message));
    this.#asked.clear();
    this.#sink?.take([{ type: "undeliverable", error: GONE }]);
  }

  #say(link: Link): void {
    if (this.#link === link) return;
    this.#link = link;
    this.#sink?.take([{ type: "link", link }]);
  }
}

function asFrames(value: unknown): ServerFrame[] {
  if (!Array.isArray(value)) return [];
  return value.map(asServerFrame).filter((frame) => frame !== null);
}
