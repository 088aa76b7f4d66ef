/** Where a room comes from: the notebook's comm or a WebSocket. The view knows neither. */

import type { ClientFrame, Entry, Message } from "./protocol";
import type { Input } from "./state";

/** Where the list ends, so that a new connection goes on from there. */
export interface Cursor {
  readonly after: number;
  readonly epoch: string | null;
}

export interface Sink {
  take(inputs: readonly Input[]): void;
  cursor(): Cursor;
  user(): string;
}

/** A page that won't come however often one asks: this source has no such thing, or may not read it. */
export class NoSuchPage extends Error {}

export interface Source {
  start(sink: Sink): void;
  /** False when it can't even be queued. A source may drop it while offline: a new `hello` sends it again. */
  send(frame: ClientFrame): boolean;
  resume(cursor: Cursor): void;
  /** The last `limit` messages below `before` (null: the newest), oldest first. */
  page(before: number | null, limit: number): Promise<Message[]>;
  /** The first `limit` raw entries above `after`. */
  log(after: number, limit: number): Promise<Entry[]>;
  stop(): void;
}
