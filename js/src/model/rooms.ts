/** The list of a server's rooms: what the reader has not read in each of them, and their order. */

import type { Message } from "../protocol/entries";
import type { ListedRoom } from "../protocol/rooms";

/** Messages of a room that are counted; more are shown as "99+". */
export const MAX_COUNTED = 100;
/** The room that every server has, also before its first message. */
export const DEFAULT_ROOM = "lobby";

const NOTHING = { unread: 0, mentions: 0 };

/** What was counted in a room: the messages after `after`, up to the entry `seq`. */
export interface Count {
  readonly after: number;
  readonly seq: number;
  readonly unread: number;
  readonly mentions: number;
}

export interface RoomRow {
  readonly name: string;
  readonly members: number;
  readonly unread: number;
  readonly mentions: number;
}

/** After which entry messages are still to be counted; null if all are. */
export function uncountedAfter({ seq }: ListedRoom, read: number, count: Count | undefined): number | null {
  if (seq <= read) return null;
  if (count?.after !== read) return read;
  return count.seq >= seq || count.unread >= MAX_COUNTED ? null : count.seq;
}

/** With `messages`, which follow what was counted. `seq`: the room's newest entry when they were requested. */
export function withCounted(
  count: Count | undefined,
  read: number,
  seq: number,
  messages: readonly Message[],
  isOwn: (message: Message) => boolean,
  mentionsReader: (message: Message) => boolean,
): Count {
  const before = count?.after === read ? count : { unread: 0, mentions: 0 };
  const others = messages.filter((message) => message.deleted !== true && !isOwn(message));
  return {
    after: read,
    seq: Math.max(seq, messages.at(-1)?.seq ?? 0),
    unread: before.unread + others.length,
    mentions: before.mentions + others.filter(mentionsReader).length,
  };
}

/** The rows of a list, and of the default room where the server does not list it yet. */
export function roomRows(
  rooms: readonly ListedRoom[],
  counts: ReadonlyMap<string, Count>,
  readSeqs: ReadonlyMap<string, number>,
): RoomRow[] {
  const all = rooms.some(({ name }) => name === DEFAULT_ROOM) ? rooms : [{ name: DEFAULT_ROOM, seq: 0, members: 0 }, ...rooms];
  return all.map(({ name, seq, members, unread, mentions }) => {
    const read = readSeqs.get(name) ?? 0;
    const count = counts.get(name);
    const known = seq <= read ? NOTHING : unread !== undefined ? { unread, mentions: mentions ?? 0 } : count?.after === read ? count : NOTHING;
    return { name, members, unread: known.unread, mentions: known.mentions };
  });
}

/** Rooms with mentions first, then with unread messages, then by name. `kept`: an order that stays, new rooms at its end. */
export function ordered(rows: readonly RoomRow[], kept: readonly string[] | null): RoomRow[] {
  if (kept !== null) {
    const places = new Map(kept.map((name, place) => [name, place]));
    const place = ({ name }: RoomRow): number => places.get(name) ?? kept.length;
    return [...rows].sort((a, b) => place(a) - place(b));
  }
  const rank = ({ mentions, unread }: RoomRow): number => (mentions > 0 ? 0 : unread > 0 ? 1 : 2);
  return [...rows].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}
