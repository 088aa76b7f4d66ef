/** From untrusted JSON to the types of this folder; null where a field that is read is missing or of another type. */

import { attachmentSchema, tableSchema, type Attachment, type Table } from "./attachments";
import { changeSchema, messageSchema, type Entry, type Message } from "./entries";
import { moderationSchema, type Moderation } from "./moderation";
import { listedRoomSchema, type ListedRoom } from "./rooms";
import { isObject, withoutNulls, type Guard } from "./schema";
import { SERVER_FRAME_SCHEMAS, type ServerFrame } from "./server-frames";

/** Null also for a type of frame that this version does not know: it is to be ignored. */
export function asServerFrame(value: unknown): ServerFrame | null {
  const schemas: Readonly<Record<string, Guard<unknown>>> = SERVER_FRAME_SCHEMAS;
  const type = isObject(value) && typeof value.type === "string" ? value.type : "";
  return Object.hasOwn(schemas, type) ? parse(value, schemas[type] as Guard<ServerFrame>) : null;
}

export const asModeration = (value: unknown): Moderation | null => parse(value, moderationSchema);
export const asAttachment = (value: unknown): Attachment | null => parse(value, attachmentSchema);
export const asMessage = (value: unknown): Message | null => parse(value, messageSchema);
export const asEntry = (value: unknown): Entry | null =>
  isObject(value) && "kind" in value ? parse(value, changeSchema) : asMessage(value);

/** Cells that are null stay null. */
export const asTable = (value: unknown): Table | null => (tableSchema(value) ? value : null);

// The items of a list that are invalid are left out, so that they do not cost the whole list.
export const asServerFrames = (value: unknown): ServerFrame[] => parseList(value, asServerFrame);
export const asMessages = (value: unknown): Message[] => parseList(value, asMessage);
export const asEntries = (value: unknown): Entry[] => parseList(value, asEntry);
export const asListedRooms = (value: unknown): ListedRoom[] => parseList(value, (item) => parse(item, listedRoomSchema));
export const asAttachments = (value: unknown): Attachment[] => parseList(value, asAttachment);

function parse<T>(value: unknown, guard: Guard<T>): T | null {
  return guard(value) ? (withoutNulls(value) as T) : null;
}

function parseList<T>(value: unknown, parseItem: (item: unknown) => T | null): T[] {
  return Array.isArray(value) ? value.map(parseItem).filter((item): item is T & {} => item !== null) : [];
}
