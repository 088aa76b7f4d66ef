/** How far the reader has read: kept by the server for verified members, for others by this browser. */

import type { Hello } from "../protocol/server-frames";

/** A position that this browser has kept. */
export interface KeptPosition {
  readonly epoch: string;
  readonly seq: number;
}

export interface Reading {
  /** Every message up to this seq is read; null until the room is joined. */
  readonly seq: number | null;
  /** `seq` when the list was loaded: the divider is above the first message after it. */
  readonly openedAt: number;
  /** The position that is kept already. */
  readonly saved: number;
  /** The server keeps the position; otherwise this browser does. */
  readonly onServer: boolean;
  readonly kept: KeptPosition | null;
}

export const NOTHING_READ: Reading = { seq: null, openedAt: 0, saved: 0, onServer: false, kept: null };

/** At the first hello of an epoch: without a position, what was there before counts as read. */
export function opened(reading: Reading, { epoch, read, seq }: Pick<Hello, "epoch" | "read" | "seq">): Reading {
  const saved = read ?? (reading.kept?.epoch === epoch ? reading.kept.seq : null);
  const position = saved ?? seq;
  return { ...reading, seq: position, openedAt: position, saved: saved ?? 0, onServer: read != null };
}
