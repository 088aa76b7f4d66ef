/** What the browser stores: its id, the reader's name, what they have read, and drafts with their attachments.
 *
 * Storage may be full or forbidden.
 */

import type { KeptPosition } from "../../model/reading";
import type { Attachment } from "../../protocol/attachments";
import { asAttachments } from "../../protocol/guards";
import { newClientId } from "../../protocol/ids";
import { isObject, parseJson, uint } from "../../protocol/schema";

const nameKey = (defaultName: string): string => `bqwidget:name:${defaultName}`;
const CLIENT_KEY = "bqwidget:client";
const draftKey = (room: string): string => `bqwidget:draft:${room}`;
const PANEL_KEY = "bqwidget:panel-room";
const listKey = (base: string): string => `bqwidget:rooms-read:${new URL(base).pathname}`;
const attachmentsKey = (room: string): string => `bqwidget:parts:${room}`;

const notifyKey = (room: string): string => `bqwidget:notify:${room}`;
const readKey = (room: string): string => `bqwidget:read:${room}`;

function orElse<T>(action: () => T, fallback: T): T {
  try {
    return action();
  } catch {
    return fallback;
  }
}

const load = (storage: () => Storage, key: string): string | null => orElse(() => storage().getItem(key), null);

/** An empty value removes the item. */
function save(storage: () => Storage, key: string, value: string): void {
  orElse(() => (value === "" ? storage().removeItem(key) : storage().setItem(key, value)), undefined);
}

/** The name that the reader chose in place of `defaultName`, otherwise `defaultName`. */
export const loadName = (defaultName: string): string => load(() => localStorage, nameKey(defaultName)) ?? defaultName;

export const saveName = (defaultName: string, name: string): void =>
  save(() => localStorage, nameKey(defaultName), name === defaultName ? "" : name);

/** The id of this browser, by which the reader's messages stay their own after a reload. */
export function loadClientId(): string {
  const stored = load(() => localStorage, CLIENT_KEY) ?? "";
  const client = /^[0-9a-f]{12}$/.test(stored) ? stored : newClientId();
  if (client !== stored) save(() => localStorage, CLIENT_KEY, client);
  return client;
}

/** How far the reader has read the room, by the seq and the epoch of its log. */
export function loadRead(room: string): KeptPosition | null {
  const [epoch, seq] = (load(() => localStorage, readKey(room)) ?? "").split(" ");
  return epoch && /^\d+$/.test(seq ?? "") ? { epoch, seq: Number(seq) } : null;
}

export const saveRead = (room: string, { epoch, seq }: KeptPosition): void =>
  save(() => localStorage, readKey(room), `${epoch} ${seq}`);

/** Which messages of the room the reader wants to be notified of; "" for none. */
export const loadNotified = (room: string): string => load(() => localStorage, notifyKey(room)) ?? "";

export const saveNotified = (room: string, which: string): void => save(() => localStorage, notifyKey(room), which);

export const loadDraft = (room: string): string => load(() => sessionStorage, draftKey(room)) ?? "";

export const saveDraft = (room: string, text: string): void => save(() => sessionStorage, draftKey(room), text);

/** The room that the panel shows, "" for its list. */
export const loadPanelRoom = (): string => load(() => sessionStorage, PANEL_KEY) ?? "";

export const savePanelRoom = (room: string): void => save(() => sessionStorage, PANEL_KEY, room);

/** How far this browser has read in each room of the server at `base`, as seqs; null before it has read anything. */
export function loadReadSeqs(base: string): ReadonlyMap<string, number> | null {
  const stored = parseJson(load(() => localStorage, listKey(base)) ?? "");
  return isObject(stored) ? new Map(Object.entries(stored).filter((item): item is [string, number] => uint(item[1]))) : null;
}

export const saveReadSeqs = (base: string, seqs: ReadonlyMap<string, number>): void =>
  save(() => localStorage, listKey(base), JSON.stringify(Object.fromEntries(seqs)));

/** The attachments of the draft, which are on the server already. */
export const loadAttachments = (room: string): Attachment[] =>
  asAttachments(parseJson(load(() => sessionStorage, attachmentsKey(room)) ?? ""));

export const saveAttachments = (room: string, attachments: readonly Attachment[]): void =>
  save(() => sessionStorage, attachmentsKey(room), attachments.length === 0 ? "" : JSON.stringify(attachments));
