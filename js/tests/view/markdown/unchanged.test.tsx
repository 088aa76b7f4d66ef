// @vitest-environment happy-dom
/** Markdown does not change what was said. */

import { render } from "preact";
import { describe, expect, it } from "vitest";
import { Markdown } from "../../../src/view/markdown/markdown";
import { UNCHANGED } from "./unchanged";
import { FORMATS } from "./unchanged-formats";

const FORMATTED = "em, strong, del, ul, ol, blockquote, h1, h2, h3, h4, h5, h6, hr, code, table, math, input";
/** Where spaces are shown as typed, by markdown.css. */
const KEEPS_SPACES = "p, pre.bq-typed, a";

function draw(text: string): HTMLElement {
  const root = document.createElement("div");
  render(<Markdown text={text} />, root);
  return root;
}

describe("a text that is not Markdown", () => {
  it.each(Object.entries({ ...UNCHANGED, ...FORMATS }))("is shown as typed: %s", (_, text) => {
    const root = draw(text);
    expect(root.textContent).toBe(text);
    expect(root.querySelector(FORMATTED)).toBeNull();
    for (const element of root.querySelectorAll("*")) expect(element.matches(KEEPS_SPACES), element.tagName).toBe(true);
  });

  it("is at least 40 texts", () => {
    expect(Object.keys(FORMATS).length).toBeGreaterThanOrEqual(100);
    expect(Object.keys(UNCHANGED).length).toBeGreaterThanOrEqual(40);
  });
});
