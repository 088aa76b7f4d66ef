/** Very long texts: generated text is shown as written, and code in a fence is never taken for that. */

import { describe, expect, it } from "vitest";
import { isPlain, tokenize } from "../../src/worker/tokenize";
import { cpuTime } from "../support/cpu-time";

const CODE = Array.from({ length: 600 }, (_, index) => `x_${index} = [a_${index}[0], *b_${index}] # \`c\``).join("\n");
const types = (text: string): string[] => (tokenize(text) ?? []).map(({ type }) => type).filter((type) => type !== "space");

describe("a long block of code", () => {
  it.each([
    ["closed", `Here:\n\n\`\`\`py\n${CODE}\n\`\`\`\n\nThat is **all**.`, ["paragraph", "code", "paragraph"]],
    ["growing", `Here:\n\n\`\`\`py\n${CODE}`, ["paragraph", "code"]],
    ["of tildes, with a word of 3,000 letters", `~~~\n${CODE}\n${"a".repeat(3_000)}\n~~~`, ["code"]],
  ])("that is %s is code", (_name, text, expected) => {
    expect(types(text)).toEqual(expected);
  });

  it("does not hide that the text around it is generated", () => {
    expect(isPlain(`\`\`\`\n${CODE}\n\`\`\`\n\n${"a_".repeat(2_000)}`)).toBe(true);
    expect(isPlain(`${"**a* ".repeat(2_000)}\n\`\`\`\n${CODE}`)).toBe(true);
  });

  it.each([["```\n".repeat(8_000)], ["~~~ \n```\n".repeat(4_000)], [`${"`".repeat(30_000)}\n`]])("is found quickly in %.12j…", (text) => {
    expect(cpuTime(() => isPlain(text))).toBeLessThan(100);
  });
});
