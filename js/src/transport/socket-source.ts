/** A room over a WebSocket: joins, reconnects with backoff, and detects connections that died without a close.
 *
 * It stores no messages: every new connection resumes from the cursor, and its `hello` makes the reducer send the
 * unacknowledged drafts again.
 */

import type { PagePosition } from "../model/state";
import type { Attachment } from "../protocol/attachments";
import type { ClientFrame } from "../protocol/client-frames";
import type { Entry, Message } from "../protocol/entries";
import { PageUnavailableError, RequestError, UNREADABLE } from "../protocol/errors";
import { asServerFrame } from "../protocol/guards";
import type { Moderation, Order } from "../protocol/moderation";
import type { Invite } from "../protocol/rooms";
import { isObject, parseJson } from "../protocol/schema";
import type { ErrorInfo, Status } from "../protocol/server-frames";
import { backoff } from "./backoff";
import { fetchAttachment, uploadAttachment } from "./http/attachments";
import { HttpClient, HttpError, isPermanent, postJson } from "./http/client";
import type { Cursor, OnProgress, Source, SourceEvents } from "./source";

/** After these no new connection is attempted. */
const FINAL_CLOSE_CODES: Readonly<Record<number, string>> = {
  4401: "Your access has ended: open a new invite link",
  4403: "You do not have access to this room",
  4404: "This room is closed",
};
/** Caused by a frame of ours: sending it again would end the next connection too. */
const BAD_FRAME_CLOSE_CODES: Readonly<Record<number, ErrorInfo>> = {
  1003: { code: "unreadable", message: "The server could not read this message" },
  1007: { code: "unreadable", message: "The server could not read this message" },
  1009: { code: "too_big", message: "This message is too large for the server" },
};
/** Until `hello` gives the server's own. */
const DEFAULT_HEARTBEAT_MS = 20_000;
/** For a join, and for the answer to a ping. */
const RESPONSE_TIMEOUT_MS = 10_000;

export interface SocketOptions {
  /** The server's base URL, ending in a slash. */
  readonly base: string;
  readonly room: string;
  /** The base URL of the pages to share, where it is another. */
  readonly pages?: string;
  /** The same for all windows of this reader, who is one member: others may use the same unverified name. */
  readonly member: string;
  readonly responseTimeoutMs?: number;
  readonly random?: () => number;
  readonly createSocket?: (url: string, protocol: string) => WebSocket;
}

export class SocketSource implements Source {
  readonly #options: SocketOptions;
  readonly #http: HttpClient;
  readonly #responseTimeoutMs: number;
  #events: SourceEvents | null = null;
  #socket: WebSocket | null = null;
  #joined = false;
  #attempt = 0;
  /** From `bye` or `Retry-After`. */
  #retryAfterMs = 0;
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #stopped = new AbortController();

  constructor(options: SocketOptions) {
    this.#options = options;
    this.#responseTimeoutMs = options.responseTimeoutMs ?? RESPONSE_TIMEOUT_MS;
    this.#http = new HttpClient(options.base, options.room);
  }

  start(events: SourceEvents): void {
    this.#events = events;
    const { signal } = this.#stopped;
    addEventListener("online", () => this.#reconnectNow(), { signal });
    document.addEventListener("visibilitychange", () => this.#reconnectNow(), { signal });
    this.#connect();
  }

  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = null;
    this.#events = null;
  }

  send(frame: ClientFrame): boolean {
    if (this.#events === null) return false;
    if (this.#joined) this.#socket?.send(JSON.stringify(frame));
    return true;
  }

  resume({ after, epoch }: Cursor): void {
    this.send({ type: "chat.resume", after, ...(epoch === null ? {} : { epoch }) });
  }

  fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    return this.#http.fetchPage(position, limit).catch(throwPageError);
  }

  search(words: string, limit: number, signal: AbortSignal): Promise<Message[]> {
    return this.#http.search(words, limit, signal);
  }

  async fetchLink(invite: Invite | null): Promise<string> {
    const { base, pages = base, room } = this.#options;
    const { roomUrl } = new HttpClient(pages, room);
    if (invite === null) return roomUrl;
    const made = await postJson(`${base}invites`, invite);
    if (!isObject(made) || typeof made.code !== "string") throw new RequestError(UNREADABLE);
    return `${roomUrl}#invite=${made.code}`;
  }

  moderate(order: Order | null): Promise<Moderation> {
    return this.#http.moderate(order);
  }

  fetchLog(after: number, limit: number): Promise<Entry[]> {
    return this.#http.fetchLog(after, limit).catch(throwPageError);
  }

  fetchAttachment({ sha256 }: Attachment, signal: AbortSignal): Promise<Blob> {
    return fetchAttachment(this.#http.roomUrl, sha256, signal);
  }

  uploadAttachment(file: Blob, mime: string, onProgress: OnProgress, signal: AbortSignal): Promise<Attachment> {
    return uploadAttachment(this.#http.roomUrl, file, mime, onProgress, signal);
  }

  #connect(): void {
    const events = this.#events;
    if (events === null) return;
    clearTimeout(this.#timer);
    const socket = this.#createSocket(joinUrl(this.#options, events.cursor(), events.user()));
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#onMessage(data);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) void this.#onClose(code);
    };
    this.#timer = setTimeout(() => this.#dropSocket(), this.#responseTimeoutMs);
  }

  #createSocket(url: string): WebSocket {
    return this.#options.createSocket?.(url, "chat.v1") ?? new WebSocket(url, ["chat.v1"]);
  }

  #onMessage(data: unknown): void {
    const frame = asServerFrame(typeof data === "string" ? parseJson(data) : null);
    if (frame?.type === "hello") this.#heartbeatMs = frame.heartbeat_ms > 0 ? frame.heartbeat_ms : DEFAULT_HEARTBEAT_MS;
    this.#restartHeartbeatTimer();
    // Only a kernel sends a status; a server must not set the connection line of this window.
    if (frame === null || frame.type === "status") return;
    if (frame.type === "hello") {
      this.#joined = true;
      this.#attempt = 0;
      this.#retryAfterMs = 0;
      this.#events?.dispatch([statusFrame("open"), frame]);
      return;
    }
    if (frame.type === "bye") this.#retryAfterMs = frame.retry_ms ?? 0;
    this.#events?.dispatch([frame]);
  }

  /** After 1.25 heartbeats without a frame, sends a ping; without an answer in time, drops the connection. */
  #restartHeartbeatTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.send({ type: "chat.ping" });
      this.#timer = setTimeout(() => this.#dropSocket(), this.#responseTimeoutMs);
    }, this.#heartbeatMs * 1.25);
  }

  /** Does not wait for the close event: the other side may be gone. */
  #dropSocket(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    void this.#onClose(1006);
  }

  async #onClose(code: number): Promise<void> {
    const joined = this.#joined;
    this.#joined = false;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (this.#events === null) return;
    const badFrame = BAD_FRAME_CLOSE_CODES[code];
    if (badFrame !== undefined) this.#events.dispatch([{ type: "undeliverable", error: badFrame }]);
    const final = FINAL_CLOSE_CODES[code];
    if (final !== undefined) return this.#end({ code: String(code), message: final });
    const error = joined ? null : await this.#http.checkJoin(this.#events.user());
    if (error === null) return this.#scheduleReconnect(null);
    if (isPermanent(error.status)) return this.#end(error.info);
    this.#retryAfterMs = error.retryAfterMs;
    this.#scheduleReconnect(error.info);
  }

  #scheduleReconnect(reason: ErrorInfo | null): void {
    if (this.#events === null || this.#socket !== null) return;
    const delay = backoff(this.#attempt++, this.#retryAfterMs, this.#options.random);
    this.#events.dispatch([statusFrame("reconnecting", reason, Date.now() + delay)]);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #end(error: ErrorInfo): void {
    this.#events?.dispatch([statusFrame("closed", error), { type: "undeliverable", error }]);
    this.#events = null;
  }

  /** Skips the delay when the network is back or the page is visible again, unless the server asked to wait. */
  #reconnectNow(): void {
    const waiting = this.#events !== null && this.#socket === null;
    if (waiting && this.#retryAfterMs === 0 && document.visibilityState !== "hidden") this.#connect();
  }
}

function joinUrl({ base, room, member }: SocketOptions, { after, epoch }: Cursor, user: string): string {
  const query = new URLSearchParams({ kind: "person", live: "1", member });
  if (epoch !== null) {
    query.set("after", String(after));
    query.set("epoch", epoch);
  }
  if (user !== "") query.set("user", user);
  return `${base.replace(/^http/, "ws")}rooms/${encodeURIComponent(room)}?${query}`;
}

function statusFrame(status: Status["status"], error: ErrorInfo | null = null, retry_at: number | null = null): Status {
  return { type: "status", status, error, retry_at, queued: 0 };
}

function throwPageError(error: unknown): never {
  if (error instanceof HttpError && isPermanent(error.status)) throw new PageUnavailableError(error.message);
  throw error;
}
