/** The delay before a new connection: exponential backoff with full jitter, which spreads a thousand clients. */

export const MIN_CEILING_MS = 500;
export const MAX_CEILING_MS = 15_000;

/** Milliseconds before attempt `attempt` (0 is the first), and at least what the server asked for. */
export function backoff(attempt: number, retryAfterMs = 0, random: () => number = Math.random): number {
  const ceiling = Math.min(MAX_CEILING_MS, MIN_CEILING_MS * 2 ** Math.min(attempt + 1, 10));
  return retryAfterMs + Math.max(MIN_CEILING_MS / 2, random() * ceiling);
}
