/** The messages that the reader has not seen yet. */

export interface Unread {
  /** The first unread message: the divider is above it. */
  readonly firstSeq: number | null;
  readonly count: number;
}

export const NO_UNREAD: Unread = { firstSeq: null, count: 0 };

/** When the newest message comes into view or leaves it: the divider goes when a reader who read everything leaves. */
export function afterVisibility({ firstSeq, count }: Unread, visible: boolean): Unread {
  return visible ? { firstSeq, count: 0 } : { firstSeq: count === 0 ? null : firstSeq, count };
}

/** With the message `seq` of another, which came or was finished out of the reader's view; it counts once. */
export function withUnread({ firstSeq, count }: Unread, seq: number, isNew: boolean): Unread {
  if (firstSeq === null) return { firstSeq: seq, count: count + 1 };
  return isNew || seq < firstSeq ? { firstSeq: Math.min(firstSeq, seq), count: count + 1 } : { firstSeq, count };
}
