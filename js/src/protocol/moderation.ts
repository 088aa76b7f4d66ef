/** What a room's moderators order, and what is in force. */

import { array, boolean, nullish, number, object, string, type Infer } from "./schema";

export type Order =
  | { readonly do: "close" | "reopen" }
  | { readonly do: "unmute"; readonly user: string }
  /** Without `minutes`, until `unmute`. */
  | { readonly do: "mute"; readonly user: string; readonly minutes?: number };

export const moderationSchema = object({
  closed: boolean,
  /** `until`: in milliseconds since the epoch. */
  mutes: array(object({ user: string, by: string, until: nullish(number) })),
});
export type Moderation = Infer<typeof moderationSchema>;
