/** From JSON that anybody may have sent to the types of `protocol.ts`, or null.
 *
 * A shape names the fields that are read and how to check each; `?` marks those that may be absent.
 */

import type { Change, Draft, Entry, Message, Part, ServerFrame, Table } from "./frames";

type Check = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Check>>;

const text: Check = (value) => typeof value === "string";
const number: Check = (value) => typeof value === "number" && Number.isFinite(value);
const seq: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const flag: Check = (value) => typeof value === "boolean";
const anything: Check = () => true;
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    typeof value === "string" && words.includes(value);
const dict =
  (check: Check): Check =>
  (value) =>
    isObject(value) && Object.values(value).every(check);
const shaped =
  (shape: Shape): Check =>
  (value) =>
    matches(value, shape);

const ask: Shape = { "choices?": orNull(list(text)), "from?": orNull(text), "expires?": orNull(number) };
const part: Shape = {
  mime: text,
  sha256: text,
  size: number,
  "name?": orNull(text),
  "width?": orNull(seq),
  "height?": orNull(seq),
};
const cell: Check = (value) => value === null || text(value) || number(value) || flag(value);
const table: Shape = { columns: list(text), rows: list(list(cell)), total_rows: seq, total_columns: seq };
const message: Shape = {
  seq,
  room: text,
  user: text,
  text,
  at: number,
  "cid?": orNull(text),
  "re?": orNull(seq),
  "choice?": orNull(text),
  "ask?": orNull(shaped(ask)),
  "parts?": list(shaped(part)),
  "edited?": orNull(number),
  "deleted?": flag,
  "reactions?": dict(list(text)),
  "answer?": orNull(seq),
  "expired?": orNull(number),
  "verified?": flag,
};
const change: Shape = {
  seq,
  room: text,
  user: text,
  at: number,
  kind: oneOf("edit", "delete", "react", "expire"),
  target: seq,
  "cid?": orNull(text),
  "text?": orNull(text),
  "emoji?": orNull(text),
  "on?": orNull(flag),
};
const limits: Shape = { text: number, user: number, frame: number, rate: number, rate_ms: number, "part?": orNull(seq) };
const profile: Shape = {
  "name?": orNull(text),
  "initials?": orNull(text),
  "color?": orNull(text),
  "avatar?": orNull(text),
};
const member: Shape = {
  user: text,
  "kind?": text,
  "busy?": orNull(flag),
  "typing?": orNull(flag),
  "verified?": flag,
  "profile?": orNull(shaped(profile)),
};

const server: Readonly<Record<ServerFrame["type"], Shape>> = {
  hello: {
    room: text,
    epoch: text,
    seq,
    oldest: seq,
    resumed: flag,
    limits: shaped(limits),
    heartbeat_ms: number,
    "user?": orNull(text),
  },
  message: { entry: shaped(message), "prev?": orNull(seq) },
  change: { entry: shaped(change), "prev?": orNull(seq) },
  ack: { cid: text, seq, at: number, dup: flag },
  synced: { seq },
  gap: { from: seq, to: seq, reason: oneOf("long", "slow", "trimmed", "epoch") },
  error: { code: text, message: text, "cid?": orNull(text), "retry_ms?": orNull(number) },
  bye: { code: number, "retry_ms?": orNull(number) },
  presence: { "members?": list(shaped(member)) },
  echo: { message: anything },
  status: {
    status: oneOf("connecting", "open", "reconnecting", "closed"),
    error: orNull(shaped({ code: text, message: text })),
    retry_at: orNull(number),
    queued: number,
  },
};

const draft: Readonly<Record<Draft["type"], Shape>> = {
  "chat.send": {
    cid: text,
    user: text,
    text,
    "re?": orNull(seq),
    "choice?": orNull(text),
    "ask?": orNull(shaped(ask)),
    "parts?": list(shaped(part)),
  },
  "chat.edit": { cid: text, user: text, target: seq, text },
  "chat.delete": { cid: text, user: text, target: seq },
  "chat.react": { cid: text, user: text, target: seq, emoji: text, "on?": flag },
};

/** The frame, or null for a type or shape this version doesn't know, which is to be ignored. */
export function asServerFrame(value: unknown): ServerFrame | null {
  return tagged(value, server) ? (withoutNulls(value) as ServerFrame) : null;
}

export function asDraft(value: unknown): Draft | null {
  return tagged(value, draft) ? (withoutNulls(value) as Draft) : null;
}

export function asPart(value: unknown): Part | null {
  return matches(value, part) ? (withoutNulls(value) as Part) : null;
}

export function asTable(value: unknown): Table | null {
  return matches(value, table) ? (value as Table) : null;
}

export function asMessage(value: unknown): Message | null {
  return matches(value, message) ? (withoutNulls(value) as Message) : null;
}

export function asEntry(value: unknown): Entry | null {
  if (isObject(value) && "kind" in value) {
    return matches(value, change) ? (withoutNulls(value) as Change) : null;
  }
  return asMessage(value);
}

/** The messages of a page; one that doesn't fit is left out rather than failing the page. */
export function asMessages(value: unknown): Message[] {
  return asList(value, asMessage);
}

export function asEntries(value: unknown): Entry[] {
  return asList(value, asEntry);
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asList<T>(value: unknown, guard: (item: unknown) => T | null): T[] {
  return Array.isArray(value) ? value.map(guard).filter((item): item is T & {} => item !== null) : [];
}

function tagged(value: unknown, shapes: Readonly<Record<string, Shape>>): boolean {
  if (!isObject(value) || typeof value.type !== "string" || !Object.hasOwn(shapes, value.type)) return false;
  return matches(value, shapes[value.type]!);
}

function matches(value: unknown, shape: Shape): boolean {
  if (!isObject(value)) return false;
  return Object.entries(shape).every(([name, check]) => {
    const optional = name.endsWith("?");
    const field = value[optional ? name.slice(0, -1) : name];
    return field === undefined ? optional : check(field);
  });
}

/** Python may write an absent optional field as null; here absent is absent. `error: null` stays in a status. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value) || value.type === "status") return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([name, field]) => [name, withoutNulls(field)]),
  );
}

