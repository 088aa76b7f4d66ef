/** A room over its own WebSocket: joins, reconnects with full jitter, and notices a line that died silently.
 *
 * It keeps no messages: every new connection resumes from the sink's cursor, and its `hello` makes the
 * store send again whatever was not acknowledged.
 */

import { backoff } from "./backoff";
import { asServerFrame } from "../protocol/guards";
import type { ClientFrame, Entry, Message, Part, Status, Trouble } from "../protocol/frames";
import { NoSuchPage, type Cursor, type Sink, type Source } from "./source";
import { fetchPart, putPart } from "./http-attachments";
import { HttpRefusal, isFinal, Rest } from "./http-client";

/** Close codes that no new attempt can mend. */
const FINAL: Readonly<Record<number, string>> = {
  4401: "Your access has ended: open a new invite link",
  4403: "You may not be in this room",
  4404: "This room is closed",
};
/** Close codes that say our own frame was at fault: sending it again would end the next connection too. */
const OUR_FAULT: Readonly<Record<number, Trouble>> = {
  1003: { code: "unreadable", message: "The server could not read it" },
  1007: { code: "unreadable", message: "The server could not read it" },
  1009: { code: "too_big", message: "It is too big for the server" },
};
/** Until `hello` tells the server's own. */
const HEARTBEAT = 20_000;
/** How long a join, or the answer to a ping, may take. */
const PATIENCE = 10_000;

export interface SocketOptions {
  /** The server's base URL, ending in a slash. */
  readonly base: string;
  readonly room: string;
  /** In milliseconds; see PATIENCE. */
  readonly patience?: number;
  readonly random?: () => number;
  readonly dial?: (url: string, protocol: string) => WebSocket;
}

export class SocketSource implements Source {
  readonly #options: SocketOptions;
  readonly #rest: Rest;
  readonly #patience: number;
  #sink: Sink | null = null;
  #socket: WebSocket | null = null;
  #joined = false;
  #attempt = 0;
  /** What `bye` asked us to wait. */
  #asked = 0;
  #heartbeat = HEARTBEAT;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #stopped = new AbortController();

  constructor(options: SocketOptions) {
    this.#options = options;
    this.#patience = options.patience ?? PATIENCE;
    this.#rest = new Rest(options.base, options.room);
  }

  start(sink: Sink): void {
    this.#sink = sink;
    const { signal } = this.#stopped;
    addEventListener("online", () => this.#hurry(), { signal });
    document.addEventListener("visibilitychange", () => this.#hurry(), { signal });
    this.#connect();
  }

  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = null;
    this.#sink = null;
  }

  send(frame: ClientFrame): boolean {
    if (this.#sink === null) return false;
    if (this.#joined) this.#socket?.send(JSON.stringify(frame));
    return true;
  }

  resume({ after, epoch }: Cursor): void {
    this.send({ type: "chat.resume", after, ...(epoch === null ? {} : { epoch }) });
  }

  page(before: number | null, limit: number): Promise<Message[]> {
    return this.#rest.page(before, limit).catch(hopeless);
  }

  log(after: number, limit: number): Promise<Entry[]> {
    return this.#rest.log(after, limit).catch(hopeless);
  }

  fetchPart({ sha256 }: Part, signal: AbortSignal): Promise<Blob> {
    return fetchPart(this.#rest.room, sha256, signal);
  }

  putPart(file: Blob, mime: string, progress: (share: number) => void, signal: AbortSignal): Promise<Part> {
    return putPart(this.#rest.room, file, mime, progress, signal);
  }

  #connect(): void {
    const sink = this.#sink;
    if (sink === null) return;
    clearTimeout(this.#timer);
    const socket = this.#dial(joinUrl(this.#options, sink.cursor(), sink.user()));
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#hear(data);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) void this.#lost(code);
    };
    this.#timer = setTimeout(() => this.#abandon(), this.#patience);
  }

  #dial(url: string): WebSocket {
    return this.#options.dial?.(url, "chat.v1") ?? new WebSocket(url, ["chat.v1"]);
  }

  #hear(data: unknown): void {
    const frame = asServerFrame(typeof data === "string" ? parse(data) : null);
    if (frame?.type === "hello") this.#heartbeat = frame.heartbeat_ms > 0 ? frame.heartbeat_ms : HEARTBEAT;
    this.#watch();
    // A status is for the comm alone: a server may not write this window's connection line.
    if (frame === null || frame.type === "status") return;
    if (frame.type === "hello") {
      this.#joined = true;
      this.#attempt = 0;
      this.#asked = 0;
      this.#sink?.take([status("open"), frame]);
      return;
    }
    if (frame.type === "bye") this.#asked = frame.retry_ms ?? 0;
    this.#sink?.take([frame]);
  }

  /** Silence for longer than the server's own heartbeat: ask, and where nothing answers, the line is dead. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.send({ type: "chat.ping" });
      this.#timer = setTimeout(() => this.#abandon(), this.#patience);
    }, this.#heartbeat * 1.25);
  }

  /** Closing would wait for the other side, which may be gone. */
  #abandon(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    void this.#lost(1006);
  }

  async #lost(code: number): Promise<void> {
    const joined = this.#joined;
    this.#joined = false;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (this.#sink === null) return;
    if (code in OUR_FAULT) this.#sink.take([{ type: "undeliverable", error: OUR_FAULT[code]! }]);
    if (code in FINAL) return this.#end({ code: String(code), message: FINAL[code]! });
    const refused = joined ? null : await this.#rest.knock(this.#sink.user());
    if (refused === null) return this.#again(null);
    if (isFinal(refused.status)) return this.#end(refused.trouble);
    this.#asked = refused.retryMs;
    this.#again(refused.trouble);
  }

  #again(reason: Trouble | null): void {
    if (this.#sink === null || this.#socket !== null) return;
    const delay = backoff(this.#attempt++, this.#asked, this.#options.random);
    this.#sink.take([status("reconnecting", reason, Date.now() + delay)]);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #end(error: Trouble): void {
    this.#sink?.take([status("closed", error), { type: "undeliverable", error }]);
    this.#sink = null;
  }

  /** The network or the reader is back: don't sit out the delay. */
  #hurry(): void {
    const waiting = this.#sink !== null && this.#socket === null;
    if (waiting && this.#asked === 0 && document.visibilityState !== "hidden") this.#connect();
  }
}

export function joinUrl({ base, room }: SocketOptions, { after, epoch }: Cursor, user: string): string {
  const query = new URLSearchParams({ kind: "person" });
  if (epoch !== null) {
    query.set("after", String(after));
    query.set("epoch", epoch);
  }
  if (user !== "") query.set("user", user);
  return `${base.replace(/^http/, "ws")}rooms/${encodeURIComponent(room)}?${query}`;
}

function status(word: Status["status"], error: Status["error"] = null, retry_at: number | null = null): Status {
  return { type: "status", status: word, error, retry_at, queued: 0 };
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function hopeless(error: unknown): never {
  if (error instanceof HttpRefusal && isFinal(error.status)) throw new NoSuchPage(error.message);
  throw error;
}
