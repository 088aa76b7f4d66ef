/** The rooms of a server over HTTP: their list, and what is new in one of them. */

import type { Message } from "../../protocol/entries";
import { asListedRooms, asMessages } from "../../protocol/guards";
import type { ListedRoom } from "../../protocol/rooms";
import { fetchJson } from "./client";

/** `base`: the server's base URL, ending in a slash. Rejects with HttpError. */
export const fetchRooms = async (base: string): Promise<ListedRoom[]> => asListedRooms(await fetchJson(`${base}rooms`));

/** The first `limit` messages after the entry `after`. */
export async function fetchAfter(base: string, room: string, after: number, limit: number): Promise<Message[]> {
  return asMessages(await fetchJson(`${base}rooms/${encodeURIComponent(room)}/messages`, { after, limit }));
}
