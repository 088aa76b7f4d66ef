/** The rooms of a server, requested again and again while the page is visible, with unread counts. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { MAX_COUNTED, roomRows, uncountedAfter, withCounted, type Count, type RoomRow } from "../model/rooms";
import type { Message } from "../protocol/entries";
import { RequestError } from "../protocol/errors";
import type { ListedRoom } from "../protocol/rooms";
import type { ErrorInfo } from "../protocol/server-frames";

/** While the list is visible, and while it is not, but a mark says whether anything is unread. */
const INTERVAL_MS = { visible: 3_000, hidden: 15_000 };
const UNREACHABLE = { code: "unreachable", message: "The server cannot be reached" };

export interface RoomListOptions {
  readonly fetchRooms: () => Promise<readonly ListedRoom[]>;
  /** The first `limit` messages after the entry `after`. */
  readonly fetchAfter: (room: string, after: number, limit: number) => Promise<readonly Message[]>;
  /** Null before this browser has read anything: then nothing is unread yet. */
  readonly loadReadSeqs: () => ReadonlyMap<string, number> | null;
  readonly saveReadSeqs: (seqs: ReadonlyMap<string, number>) => void;
  readonly isOwn: (message: Message) => boolean;
  readonly mentionsReader: (message: Message) => boolean;
}

export interface RoomListState {
  readonly rows: readonly RoomRow[];
  readonly loaded: boolean;
  /** Why the last request failed; the rows are those of the one before. */
  readonly error: ErrorInfo | null;
}

export class RoomList {
  readonly #options: RoomListOptions;
  readonly #state: Signal<RoomListState> = signal({ rows: [], loaded: false, error: null });
  #rooms: readonly ListedRoom[] = [];
  readonly #counts = new Map<string, Count>();
  readonly #readSeqs = new Map<string, number>();
  #running = false;
  #visible = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #stopped = new AbortController();

  constructor(options: RoomListOptions) {
    this.#options = options;
  }

  get state(): ReadonlySignal<RoomListState> {
    return this.#state;
  }

  start(): void {
    const { signal } = this.#stopped;
    document.addEventListener("visibilitychange", () => this.#pageVisible() && void this.refresh(), { signal });
    addEventListener("pagehide", () => this.#saveReadSeqs(), { signal });
    void this.refresh();
  }

  stop(): void {
    this.#saveReadSeqs();
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  /** Whether the list is in view. */
  setVisible(visible: boolean): void {
    if (visible && !this.#visible) void this.refresh();
    this.#visible = visible;
  }

  /** The reader has seen the entries of `room` up to `seq`. */
  markRead(room: string, seq: number): void {
    if (seq <= (this.#readSeqs.get(room) ?? 0)) return;
    this.#readSeqs.set(room, seq);
    this.#update();
  }

  async refresh(): Promise<void> {
    if (this.#running || this.#hasStopped()) return;
    this.#running = true;
    clearTimeout(this.#timer);
    try {
      const before = this.#loadReadSeqs();
      this.#rooms = await this.#options.fetchRooms();
      this.#reconcile(before);
      this.#update({ loaded: true, error: null });
      await this.#count();
    } catch (error) {
      this.#update({ error: error instanceof RequestError ? error.info : UNREACHABLE });
    }
    this.#running = false;
    if (this.#hasStopped() || !this.#pageVisible()) return;
    this.#timer = setTimeout(() => void this.refresh(), INTERVAL_MS[this.#visible ? "visible" : "hidden"]);
  }

  async #count(): Promise<void> {
    for (const room of this.#rooms) {
      if (room.unread !== undefined || this.#hasStopped()) continue;
      const { name, seq } = room;
      const read = this.#readSeqs.get(name) ?? 0;
      const count = this.#counts.get(name);
      const after = uncountedAfter(room, read, count);
      if (after === null) continue;
      const messages = await this.#options.fetchAfter(name, after, MAX_COUNTED);
      this.#counts.set(name, withCounted(count, read, seq, messages, this.#options.isOwn, this.#options.mentionsReader));
      this.#update();
    }
  }

  /** Takes over what other tabs of this browser have read; null if none has read anything yet. */
  #loadReadSeqs(): ReadonlyMap<string, number> | null {
    const stored = this.#options.loadReadSeqs();
    for (const [name, seq] of stored ?? []) this.#readSeqs.set(name, Math.max(seq, this.#readSeqs.get(name) ?? 0));
    return stored && new Map(this.#readSeqs);
  }

  /** `before`: what was read before the rooms were requested. */
  #reconcile(before: ReadonlyMap<string, number> | null): void {
    for (const { name, seq, unread } of this.#rooms) {
      if (before === null && unread === undefined) this.#readSeqs.set(name, Math.max(seq, this.#readSeqs.get(name) ?? 0));
      // The server's log was replaced by an older one: the read position can't lie after its end.
      else if (seq < (before?.get(name) ?? 0)) this.#readSeqs.set(name, seq);
    }
    this.#saveReadSeqs();
  }

  #saveReadSeqs(): void {
    const stored = this.#options.loadReadSeqs();
    const changed = stored === null || [...this.#readSeqs].some(([name, seq]) => stored.get(name) !== seq);
    if (changed && this.#rooms.length > 0) this.#options.saveReadSeqs(this.#readSeqs);
  }

  #update(changes: Partial<RoomListState> = {}): void {
    const rows = roomRows(this.#rooms, this.#counts, this.#readSeqs);
    this.#state.value = { ...this.#state.value, ...changes, rows };
  }

  #hasStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  #pageVisible(): boolean {
    return document.visibilityState !== "hidden";
  }
}
