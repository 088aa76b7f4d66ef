import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoff, MAX_CEILING_MS } from "../../src/transport/backoff";

describe("backoff", () => {
  it("is at least what the server asked for, and at most its ceiling longer", () => {
    fc.assert(
      fc.property(fc.nat(1_000), fc.nat(60_000), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, retryAfterMs, random) => {
        const delay = backoff(attempt, retryAfterMs, () => random);
        expect(delay).toBeGreaterThan(retryAfterMs);
        expect(delay).toBeLessThanOrEqual(retryAfterMs + MAX_CEILING_MS);
      }),
    );
    expect(backoff(50, 0, () => 1)).toBe(MAX_CEILING_MS);
    expect(backoff(0, 0, () => 1)).toBe(1_000);
  });
});
