/** The frames from clients to the server. */

import { attachmentSchema } from "./attachments";
import { anchorSchema, askSchema } from "./entries";
import { array, boolean, nullish, object, optional, string, uint, type Tagged } from "./schema";

export const DRAFT_SCHEMAS = {
  "chat.send": object({
    cid: string,
    user: string,
    text: string,
    re: nullish(uint),
    choice: nullish(string),
    ask: nullish(askSchema),
    parts: optional(array(attachmentSchema)),
    /** "plain": the text is shown as it is; otherwise it is Markdown. */
    format: nullish(string),
    cell: nullish(anchorSchema),
  }),
  "chat.edit": object({ cid: string, user: string, target: uint, text: string }),
  "chat.delete": object({ cid: string, user: string, target: uint }),
  "chat.react": object({ cid: string, user: string, target: uint, emoji: string, on: optional(boolean), pin: nullish(boolean) }),
  "chat.vote": object({ cid: string, user: string, target: uint, choice: string }),
};

/** The frames that become an entry of the log. */
export type Draft = Tagged<typeof DRAFT_SCHEMAS>;

export type ClientFrame =
  | Draft
  | { readonly type: "chat.typing"; readonly user?: string; readonly on?: boolean }
  | { readonly type: "chat.stop"; readonly target: number; readonly user: string }
  | { readonly type: "chat.resume"; readonly after: number; readonly epoch?: string }
  | { readonly type: "chat.read"; readonly seq: number }
  | { readonly type: "chat.ping" };
