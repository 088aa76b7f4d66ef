/** The cases of tests/folding.json: Python folds them alike. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Change, Message } from "../../src/protocol/entries";
import { fold } from "../../src/protocol/folding";

interface Case {
  readonly name: string;
  readonly message: Message;
  readonly changes: readonly Change[];
  readonly folded: Message;
}
const cases = JSON.parse(readFileSync(new URL("../../../tests/folding.json", import.meta.url), "utf8")) as Case[];

/** Without what Python leaves out: empty and false values. */
const sent = (message: Message): object =>
  Object.fromEntries(
    Object.entries(message).filter(([, value]) => !["false", "[]", "{}"].includes(JSON.stringify(value))),
  );

test.each(cases)("$name", ({ message, changes, folded }) => {
  let result = message;
  for (const change of changes) {
    result = fold(result, change);
    expect(fold(result, change)).toEqual(result); // again: no further effect
  }
  expect(sent(result)).toEqual(folded);
});
