/** The numbers of a table are what they are. */

import { describe, expect, it } from "vitest";
import { cellText } from "../../../src/view/attachments/table";

describe("a cell", () => {
  it.each<[string | number | boolean | null, string]>([
    [1234567.89, "1234567.89"],
    [-1234567.8912345, "-1234567.891235"],
    [0.1 + 0.2, "0.3"],
    [0.213456789, "0.213457"],
    [0.000123456789, "0.000123456789"],
    [1e-12, "1e-12"],
    [6.02214076e23, "6.02214076e+23"],
    [1e300, "1e+300"],
    [2 ** 53 - 1, "9007199254740991"],
    [100, "100"],
    [99.9999999, "100"],
    [-0.5, "-0.5"],
    [-0, "-0"],
    ["1234567890123456789", "1234567890123456789"],
    [true, "true"],
    [null, "–"],
  ])("%s is shown as %s", (value, text) => {
    expect(cellText(value)).toBe(text);
  });
});
