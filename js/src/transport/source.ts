/** The interface between a room and its transport: the notebook's comm or a WebSocket. */

import type { Input, PagePosition } from "../model/state";
import type { Attachment } from "../protocol/attachments";
import type { ClientFrame } from "../protocol/client-frames";
import type { Entry, Message } from "../protocol/entries";
import type { Moderation, Order } from "../protocol/moderation";
import type { Invite } from "../protocol/rooms";

/** The end of the list, where a new connection resumes. */
export interface Cursor {
  readonly after: number;
  readonly epoch: string | null;
}

export interface SourceEvents {
  dispatch(inputs: readonly Input[]): void;
  cursor(): Cursor;
  user(): string;
}

/** Called with the fraction sent, from 0 to 1. */
export type OnProgress = (fraction: number) => void;

export interface Source {
  start(events: SourceEvents): void;
  /** Returns false if it cannot be queued. A source may drop a frame while offline: a new `hello` sends it again. */
  send(frame: ClientFrame): boolean;
  resume(cursor: Cursor): void;
  /** At most `limit` messages, oldest first. Rejects with PageUnavailableError. */
  fetchPage(position: PagePosition, limit: number): Promise<Message[]>;
  /** The newest `limit` messages that contain all of `words`, oldest first. Rejects with an Error. */
  search(words: string, limit: number, signal: AbortSignal): Promise<Message[]>;
  /** The address of the room's page, for the people that `invite` describes. Rejects with RequestError. */
  fetchLink(invite: Invite | null): Promise<string>;
  /** Gives a moderator's order, if there is one. Resolves to what is in force; rejects with RequestError. */
  moderate(order: Order | null): Promise<Moderation>;
  /** The first `limit` raw entries above `after`. Rejects with PageUnavailableError. */
  fetchLog(after: number, limit: number): Promise<Entry[]>;
  /** The content of an attachment. Rejects with RequestError. */
  fetchAttachment(attachment: Attachment, signal: AbortSignal): Promise<Blob>;
  /** Stores `file`, so that messages can name it. Rejects with RequestError. */
  uploadAttachment(file: Blob, mime: string, onProgress: OnProgress, signal: AbortSignal): Promise<Attachment>;
  stop(): void;
}
