/** Counting, truncating and repairing text. */

import { describe, expect, it } from "vitest";
import { codePoints } from "../../../src/protocol/folding";
import { toWellFormed, truncate } from "../../../src/view/shared/text";

describe("text", () => {
  it("is counted and truncated by code points, as on the server", () => {
    expect(codePoints("a🦊b")).toBe(3);
    expect(truncate("🦊🦊🦊", 2)).toBe("🦊🦊…");
    expect(truncate("🦊🦊", 2)).toBe("🦊🦊");
    expect(truncate("short", 5)).toBe("short");
    expect(truncate("longer", 5)).toBe("longe…");
  });

  it("has no lone surrogates when it is sent", () => {
    expect(toWellFormed("a\ud83eb\udd8a🦊")).toBe("a\ufffdb\ufffd🦊");
  });
});
