/** Where a room comes from: the notebook's comm or a WebSocket. The view knows neither. */

import type { ClientFrame, Entry, Message, Part, Trouble } from "../protocol/frames";
import type { Input } from "../model/state";

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

/** An attachment that can't be had, or put. */
export class Refused extends Error {
  constructor(readonly trouble: Trouble) {
    super(trouble.message);
  }
}

export interface Source {
  start(sink: Sink): void;
  /** False when it can't even be queued. A source may drop it while offline: a new `hello` sends it again. */
  send(frame: ClientFrame): boolean;
  resume(cursor: Cursor): void;
  /** The last `limit` messages below `before` (null: the newest), oldest first. */
  page(before: number | null, limit: number): Promise<Message[]>;
  /** The first `limit` raw entries above `after`. */
  log(after: number, limit: number): Promise<Entry[]>;
  /** An attachment's bytes. */
  fetchPart(part: Part, signal: AbortSignal): Promise<Blob>;
  /** Puts one; `progress` hears how much of it has gone, from 0 to 1. */
  putPart(file: Blob, mime: string, progress: (share: number) => void, signal: AbortSignal): Promise<Part>;
  stop(): void;
}
