/** What a server accepts: its limits come in `hello`; the others are part of chat.v1. */

import { number, nullish, object, uint, type Infer } from "./schema";

export const limitsSchema = object({
  /** Unicode code points in `text`. */
  text: number,
  user: number,
  /** Bytes in one frame. */
  frame: number,
  /** Messages per `rate_ms`; 0 is no limit. */
  rate: number,
  rate_ms: number,
  /** Bytes in one attachment; absent or 0: the server accepts none. */
  part: nullish(uint),
});
export type Limits = Infer<typeof limitsSchema>;

export const DEFAULT_LIMITS: Limits = {
  text: 32_000,
  user: 64,
  frame: 256 * 1024,
  rate: 20,
  rate_ms: 10_000,
  part: 10 * 1024 * 1024,
};
/** In one message. */
export const MAX_ATTACHMENTS = 20;
/** Of an attachment's name, in code points. */
export const MAX_NAME_CHARACTERS = 255;
