/** How long to wait before the next attempt: full jitter, so that a thousand clients don't return at once. */

export const SHORTEST = 500;
export const LONGEST = 15_000;

/** Milliseconds before attempt `attempt` (0 is the first); never less than the server asked for. */
export function backoff(attempt: number, asked = 0, random: () => number = Math.random): number {
  const ceiling = Math.min(LONGEST, SHORTEST * 2 ** Math.min(attempt + 1, 10));
  return asked + Math.max(SHORTEST / 2, random() * ceiling);
}
