/** chat.v1 in TypeScript: the frames, the entries they carry, and guards that let nothing else through.
 *
 * The mirror of `bqwidget/protocol.py`; `tests/frames.json` holds both to the same golden frames. Whatever
 * arrives is `unknown` until a guard here has looked at every field the view reads. Unknown fields are
 * kept but never read, unknown types are null: both may be added without a new version.
 */

export interface Limits {
  /** Unicode code points in `text`. */
  readonly text: number;
  readonly user: number;
  /** Bytes in one frame. */
  readonly frame: number;
  /** Messages per `rate_ms`; 0 is no limit. */
  readonly rate: number;
  readonly rate_ms: number;
  /** Bytes in one attachment; absent or 0: this server takes none. */
  readonly part?: number;
}

export const LIMITS: Limits = { text: 16_000, user: 64, frame: 128 * 1024, rate: 20, rate_ms: 10_000, part: 10 * 1024 * 1024 };
/** Attachments in one message. */
export const MAX_PARTS = 20;

// ---- entries: what the log keeps -----------------------------------------------------------------

export interface Ask {
  readonly choices?: readonly string[];
  readonly from?: string;
  /** Milliseconds since the epoch. */
  readonly expires?: number;
}

export interface Part {
  readonly mime: string;
  readonly sha256: string;
  readonly size: number;
  readonly name?: string;
  /** A picture's, in pixels. */
  readonly width?: number;
  readonly height?: number;
}

/** The body of a part of type TABLE: the first rows and columns, and how many there are in all. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  readonly total_rows: number;
  readonly total_columns: number;
}

export type Cell = string | number | boolean | null;

export const TABLE = "application/vnd.bqwidget.table+json";
/** The pictures a room takes; all of them are shown by `<img>` alone. */
export const IMAGES: readonly string[] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"];

/** One message with every later change folded in. `seq` and `at` grow strictly; never assume seq + 1. */
export interface Message {
  readonly seq: number;
  readonly room: string;
  readonly user: string;
  readonly text: string;
  readonly at: number;
  readonly cid?: string;
  readonly re?: number;
  readonly choice?: string;
  readonly ask?: Ask;
  readonly parts?: readonly Part[];
  readonly edited?: number;
  readonly deleted?: boolean;
  readonly reactions?: Readonly<Record<string, readonly string[]>>;
  /** Of a question: the seq of the message that answered it. */
  readonly answer?: number;
  /** Of a question: when it ended without an answer. */
  readonly expired?: number;
  /** The server knows that it was `user`; else the name is what somebody said. */
  readonly verified?: boolean;
}

/** An entry that alters the earlier message `target`; it has a `seq` of its own. */
export interface Change {
  readonly seq: number;
  readonly room: string;
  readonly user: string;
  readonly at: number;
  readonly kind: "edit" | "delete" | "react" | "expire";
  readonly target: number;
  readonly cid?: string;
  readonly text?: string;
  readonly emoji?: string;
  readonly on?: boolean;
}

export type Entry = Message | Change;

export const isChange = (entry: Entry): entry is Change => "kind" in entry;

/** `message` as it reads after `change`; folding the same change twice is folding it once. */
export function fold(message: Message, change: Change): Message {
  if (message.deleted) return message;
  switch (change.kind) {
    case "edit":
      return { ...message, text: change.text ?? "", edited: change.at };
    case "delete":
      return { ...message, text: "", parts: [], reactions: {}, deleted: true, edited: change.at };
    case "expire":
      return { ...message, expired: change.at };
    case "react": {
      const emoji = change.emoji ?? "";
      // Own keys only, and defined rather than assigned: "__proto__" is a legal reaction.
      const before = new Map(Object.entries(message.reactions ?? {}));
      const users = (before.get(emoji) ?? []).filter((user) => user !== change.user);
      before.set(emoji, change.on === false ? users : [...users, change.user]);
      return { ...message, reactions: Object.fromEntries([...before].filter(([, who]) => who.length > 0)) };
    }
  }
}

/** `question` as it reads after `reply`: the first by seq counts, in time, from whom was asked, and a choice. */
export function answered(question: Message, reply: Message): Message {
  const { ask, answer, expired } = question;
  if (ask === undefined || answer !== undefined || expired !== undefined || reply.re !== question.seq) return question;
  const inTime = ask.expires === undefined || reply.at <= ask.expires;
  return inTime && mayAnswer(ask, reply) ? { ...question, answer: reply.seq } : question;
}

/** Whether it answers at all, be it too late: from whom was asked, and one of the choices. */
export function mayAnswer(ask: Ask, reply: { readonly user: string; readonly choice?: string }): boolean {
  if (ask.from !== undefined && ask.from !== reply.user) return false;
  return !ask.choices?.length || (reply.choice !== undefined && ask.choices.includes(reply.choice));
}

// ---- server to client ----------------------------------------------------------------------------

export interface Hello {
  readonly type: "hello";
  readonly room: string;
  readonly epoch: string;
  readonly seq: number;
  readonly oldest: number;
  readonly resumed: boolean;
  readonly limits: Limits;
  readonly heartbeat_ms: number;
  /** The verified name under which this member writes; absent where it is the one that frames say. */
  readonly user?: string;
}
export interface MessageFrame {
  readonly type: "message";
  readonly entry: Message;
  readonly prev?: number;
}
export interface ChangeFrame {
  readonly type: "change";
  readonly entry: Change;
  readonly prev?: number;
}
export interface Ack {
  readonly type: "ack";
  readonly cid: string;
  readonly seq: number;
  readonly at: number;
  readonly dup: boolean;
}
export interface Synced {
  readonly type: "synced";
  readonly seq: number;
}
export interface Gap {
  readonly type: "gap";
  readonly from: number;
  readonly to: number;
  readonly reason: "long" | "slow" | "trimmed" | "epoch";
}
/** Why something is not, or not yet: the server's short word for it, and its sentence. */
export interface Trouble {
  readonly code: string;
  readonly message: string;
}
export interface Refusal {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly cid?: string;
  readonly retry_ms?: number;
}
export interface Bye {
  readonly type: "bye";
  readonly code: number;
  readonly retry_ms?: number;
}
/** How a verified member wants to be shown; all of it is somebody else's text. */
export interface Profile {
  /** One to read beside `user`. */
  readonly name?: string;
  readonly initials?: string;
  /** A CSS colour, or JupyterLab's `var(--jp-collaborator-color1)`. */
  readonly color?: string;
  /** A small picture as a `data:` URL. */
  readonly avatar?: string;
}
export interface Member {
  readonly user: string;
  readonly kind?: string;
  readonly busy?: boolean;
  readonly typing?: boolean;
  readonly verified?: boolean;
  readonly profile?: Profile;
}
export interface Presence {
  readonly type: "presence";
  readonly members?: readonly Member[];
}
export interface Echo {
  readonly type: "echo";
  readonly message: unknown;
}
/** How the room's own connection is doing. Sources make it; the kernel sends it over the comm. */
export interface Status {
  readonly type: "status";
  readonly status: "connecting" | "open" | "reconnecting" | "closed";
  readonly error: Trouble | null;
  /** When the next attempt starts, in milliseconds since the epoch. */
  readonly retry_at: number | null;
  readonly queued: number;
}

export type ServerFrame =
  | Hello
  | MessageFrame
  | ChangeFrame
  | Ack
  | Synced
  | Gap
  | Refusal
  | Bye
  | Presence
  | Echo
  | Status;

// ---- client to server ----------------------------------------------------------------------------

export interface Send {
  readonly type: "chat.send";
  readonly cid: string;
  readonly user: string;
  readonly text: string;
  readonly re?: number;
  readonly choice?: string;
  readonly ask?: Ask;
  readonly parts?: readonly Part[];
}
export interface Edit {
  readonly type: "chat.edit";
  readonly cid: string;
  readonly user: string;
  readonly target: number;
  readonly text: string;
}
export interface Delete {
  readonly type: "chat.delete";
  readonly cid: string;
  readonly user: string;
  readonly target: number;
}
export interface React {
  readonly type: "chat.react";
  readonly cid: string;
  readonly user: string;
  readonly target: number;
  readonly emoji: string;
  readonly on?: boolean;
}
/** The frames that become an entry of the log. */
export type Draft = Send | Edit | Delete | React;

export type ClientFrame =
  | Draft
  | { readonly type: "chat.typing"; readonly user?: string }
  | { readonly type: "chat.resume"; readonly after: number; readonly epoch?: string }
  | { readonly type: "chat.ping" };
