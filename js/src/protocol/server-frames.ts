/** The frames from the server to clients, as `bqwidget.protocol` defines them in Python, with the fields read here.
 *
 * `tests/frames.json` holds both sides to the same examples. Unknown fields and unknown types of frame are ignored,
 * so both can be added without a new version.
 */

import { changeSchema, messageSchema } from "./entries";
import { limitsSchema } from "./limits";
import { array, boolean, json, nullable, nullish, number, object, oneOf, optional, string, uint } from "./schema";
import type { Infer, Tagged } from "./schema";

const errorInfoSchema = object({ code: string, message: string });
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

const memberSchema = object({
  user: string,
  kind: optional(string),
  busy: nullish(boolean),
  typing: nullish(boolean),
  verified: optional(boolean),
  profile: nullish(profileSchema),
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
  }),
  message: object({ entry: messageSchema, prev: nullish(uint) }),
  change: object({ entry: changeSchema, prev: nullish(uint) }),
  ack: object({ cid: string, seq: uint, at: number, dup: boolean }),
  synced: object({ seq: uint }),
  gap: object({ from: uint, to: uint, reason: oneOf("long", "slow", "trimmed", "epoch") }),
  error: object({ code: string, message: string, cid: nullish(string), retry_ms: nullish(number) }),
  bye: object({ code: number, retry_ms: nullish(number) }),
  presence: object({ members: optional(array(memberSchema)) }),
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
export type Ack = Server<"ack">;
export type Gap = Server<"gap">;
export type ErrorFrame = Server<"error">;
export type Status = Server<"status">;
