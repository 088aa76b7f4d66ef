/** The rooms of a server, as `GET /rooms` lists them. */

import { object, optional, string, uint, type Infer } from "./schema";

export const listedRoomSchema = object({
  name: string,
  /** Of the newest entry. */
  seq: uint,
  /** Connections now. */
  members: uint,
  /** Messages that the reader has not read, where the server knows how far they have read. */
  unread: optional(uint),
  /** How many of them mention the reader. */
  mentions: optional(uint),
});
export type ListedRoom = Infer<typeof listedRoomSchema>;

/** Whether the server accepts it as a room's name. */
export const isRoomName = (name: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(name);

/** Lets `uses` people in, within `minutes`. */
export interface Invite {
  readonly uses: number;
  readonly minutes: number;
}
