/** The frames from the server to clients, as `bqwidget.protocol` defines them in Python, with the fields read here.
 *
 * `tests/frames.json` holds both sides to the same examples. Unknown fields and unknown types of frame are ignored,
 * so both can be added without a new version.
 */

import { changeSchema, messageSchema, progressSchema } from "./entries";
import { limitsSchema } from "./limits";
import { array, boolean, json, nullable, nullish, number, object, oneOf, optional, string, uint } from "./schema";
import type { Guard, Infer, Tagged } from "./schema";

const errorInfoSchema = object({
  code: string,
  message: string,
  /** The path of the field that is to blame, such as "user". */
  field: nullish(string),
});
/** Why something failed or waits: the server's short code, and its sentence. */
export type ErrorInfo = Infer<typeof errorInfoSchema>;

const profileSchema = object({
  /** A display name. */
  name: nullish(string),
  initials: nullish(string),
  /** A CSS colour, or JupyterLab's `var(--jp-collaborator-color1)`. */
  color: nullish(string),
  /** A small picture as a `data:` URL. */
  avatar: nullish(string),
});
/** How a verified member wants to be shown. Untrusted text. */
export type Profile = Infer<typeof profileSchema>;

const commandSchema = object({ name: string, usage: optional(string), help: optional(string) });
/** A command that a member offers, such as "mean", which is sent as "/mean 3 4 8". */
export type Command = Infer<typeof commandSchema>;

const booleanOrText: Guard<boolean | string> = (value): value is boolean | string => boolean(value) || string(value);

const memberSchema = object({
  user: string,
  kind: optional(string),
  busy: nullish(boolean),
  /** Whether they write, or what they say they are doing, such as "thinking…". */
  typing: nullish(booleanOrText),
  verified: optional(boolean),
  profile: nullish(profileSchema),
  commands: optional(array(commandSchema)),
  /** Tells apart those who use the same unverified name; absent where one member does. */
  id: nullish(string),
});
export type Member = Infer<typeof memberSchema>;

export const SERVER_FRAME_SCHEMAS = {
  hello: object({
    room: string,
    epoch: string,
    seq: uint,
    oldest: uint,
    resumed: boolean,
    limits: limitsSchema,
    heartbeat_ms: number,
    /** The verified name under which this client writes; absent where it is the name in its frames. */
    user: nullish(string),
    /** The server's clock, by which questions end, in milliseconds since the epoch. */
    now: nullish(number),
    /** The `id` of this client among the members; absent if they are told apart by their verified names. */
    member: nullish(string),
    /** Up to where this verified member has read, in any window. */
    read: nullish(uint),
    /** "read" or "moderate"; absent for a member who may read and write. */
    role: nullish(string),
    /** How people get in with the address from the reader: "login", "invite", "session"; absent: just so. */
    share: nullish(string),
    /** Whether messages of the room may be pinned. */
    pins: nullish(boolean),
  }),
  message: object({ entry: messageSchema, prev: nullish(uint) }),
  change: object({ entry: changeSchema, prev: nullish(uint) }),
  /** A piece of a live message that is not yet in the log. */
  append: object({
    target: uint,
    offset: uint,
    text: string,
    replace: nullish(boolean),
    progress: nullish(progressSchema),
  }),
  /** `user` asks the author of the live message `target` to stop. */
  stop: object({ target: uint, user: string }),
  /** This verified member has read everything up to `seq`, in any window. */
  read: object({ seq: uint }),
  ack: object({ cid: string, seq: uint, at: number, dup: boolean }),
  synced: object({ seq: uint }),
  gap: object({ from: uint, to: uint, reason: oneOf("long", "slow", "trimmed", "epoch") }),
  error: object({
    code: string,
    message: string,
    cid: nullish(string),
    retry_ms: nullish(number),
    /** The path of the field that is to blame, such as "ask.choices". */
    field: nullish(string),
  }),
  bye: object({ code: number, retry_ms: nullish(number) }),
  presence: object({
    members: optional(array(memberSchema)),
    /** The members' commands are left out, because they are those of the frame before. */
    same_commands: optional(boolean),
  }),
  echo: object({ message: json }),
  /** The state of the room's connection. Sources make it; over the comm the kernel sends it. */
  status: object({
    status: oneOf("connecting", "open", "reconnecting", "closed"),
    error: nullable(errorInfoSchema),
    /** When the next attempt starts, in milliseconds since the epoch. */
    retry_at: nullable(number),
    /** The sender's clock, if that is not this browser's. */
    now: optional(number),
    queued: number,
  }),
};

export type ServerFrame = Tagged<typeof SERVER_FRAME_SCHEMAS>;
type Server<T extends ServerFrame["type"]> = Extract<ServerFrame, { readonly type: T }>;
export type Hello = Server<"hello">;
export type MessageFrame = Server<"message">;
export type ChangeFrame = Server<"change">;
export type AppendFrame = Server<"append">;
export type StopFrame = Server<"stop">;
export type Ack = Server<"ack">;
export type Gap = Server<"gap">;
export type ErrorFrame = Server<"error">;
export type PresenceFrame = Server<"presence">;
export type Status = Server<"status">;
