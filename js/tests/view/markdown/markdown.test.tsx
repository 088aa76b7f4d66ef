// @vitest-environment happy-dom
/** The allow-list: untrusted Markdown becomes only these elements and attributes, or stays text. */

import fc from "fast-check";
import { render } from "preact";
import { describe, expect, it, vi } from "vitest";
import { safeUrl } from "../../../src/view/markdown/inlines";
import { Markdown } from "../../../src/view/markdown/markdown";
import { isPlain, tokenize } from "../../../src/worker/tokenize";
import { clientOf } from "../../../src/worker/worker-client";
import { cpuTime } from "../../support/cpu-time";

const ELEMENTS = [
  ...["P", "STRONG", "EM", "DEL", "CODE", "PRE", "BLOCKQUOTE", "UL", "OL", "LI", "A", "DIV", "SPAN", "BUTTON", "INPUT"],
  ...["H1", "H2", "H3", "H4", "H5", "H6", "HR", "TABLE", "THEAD", "TBODY", "TR", "TH", "TD"],
];
const ATTRIBUTES = [
  ...["dir", "href", "target", "rel", "title", "start", "value", "class", "type", "tabindex", "role", "aria-label", "aria-level"],
  ...["disabled", "checked"],
];

function draw(text: string): HTMLElement {
  const root = document.createElement("div");
  render(<Markdown text={text} />, root);
  return root;
}

function expectSafe(root: HTMLElement): void {
  for (const element of root.querySelectorAll("*")) {
    expect(ELEMENTS).toContain(element.tagName);
    for (const { name, value } of element.attributes) {
      expect(ATTRIBUTES).toContain(name);
      if (name === "href") expect(value).toMatch(/^(https?:|mailto:)/);
    }
    if (element.tagName === "A") {
      expect(element.getAttribute("rel")).toBe("noopener noreferrer");
      expect(element.getAttribute("target")).toBe("_blank");
    }
  }
}

describe("markdown", () => {
  it.each([
    ["*em* **strong** ~~del~~ `code`", "em strong del code", "em, strong, del, code"],
    ["line one\nline two", "line one\nline two", "p"],
    ["- a\n- b", "ab", "ul > li + li"],
    ["3. c\n4. d", "cd", "ol[start='3'] > li + li"],
    ["> quoted", "quoted", "blockquote > p"],
    ["# Title", "Title", "h1"],
    ["```py\nx = 1\n```", "x = 1Copy", "pre[aria-label=py] > code"],
    ["see https://example.com/a_b_c!", "see https://example.com/a_b_c!", "a[href='https://example.com/a_b_c']"],
    ["[text](mailto:a@b.co)", "text", "a[href='mailto:a@b.co']"],
    ["- [x] done", "done", "li > input[type=checkbox]:disabled:checked"],
  ])("%j", (text, content, selector) => {
    const root = draw(text);
    expect(root.textContent).toBe(content);
    expect(root.querySelector(selector)).not.toBeNull();
    expectSafe(root);
  });

  it.each([
    "plain words, nothing else",
    "<b>bold</b> &amp; <script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- comment -->",
    "a < b && c > d",
    "[a]: https://example.com",
    "| a | b |\n|---|---|".split("\n")[0]!,
    "[x](javascript:alert(1))",
    "[x](data:text/html,hi)",
    "[x](//evil.example)",
    "[x](relative/path)",
    "![x](file:///etc/passwd)",
    "snake_case_name and 2 * 3 * 4",
    "---",
    "&lt;b&gt;",
    "```",
  ])("leaves %j as it was written", (text) => {
    const root = draw(text);
    expect(root.textContent).toBe(text);
    expectSafe(root);
  });

  it.each([
    ["見て：https://example.org/a、次", "https://example.org/a"],
    ["«https://example.org/a»", "https://example.org/a"],
    ["https://example.org/a، b", "https://example.org/a"],
  ])("finds the address of %j in plain text too", (text, address) => {
    const root = document.createElement("div");
    render(<Markdown text={text} plain />, root);
    expect(root.textContent).toBe(text);
    expect([...root.querySelectorAll("a")].map((link) => [link.href, link.textContent])).toEqual([[address, address]]);
  });

  it("shows an image as a link, so that nothing is fetched", () => {
    const root = draw("![look](https://evil.example/pixel.png)");
    expect(root.querySelector("img")).toBeNull();
    expect(root.querySelector("a")?.textContent).toBe("look");
  });

  it("keeps every word", () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 12 }), (list) => {
        expect(draw(list.join(" ")).textContent).toBe(list.join(" "));
      }),
    );
  });

  it("creates only elements on the allow-list from any text", () => {
    const pieces = fc.constantFrom(
      ...["<", ">", '"', "'", "`", "```", "*", "_", "[", "]", "(", ")", "!", "&", "#", "\n", "    ", "- ", "> ", "|", "\\"],
      ...["javascript:", "data:text/html,", "vbscript:", "https://x.y", "www.x.y", "a@b.c", "<script>", "</p>", "onerror="],
      ...["<svg onload=alert(1)>", "&#x6a;avascript:", "java\tscript:", "\u0000", "\u202e", "[x][y]", "[y]: javascript:1"],
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 5 })), { maxLength: 30 }), (parts) => {
        expectSafe(draw(parts.join("")));
      }),
      { numRuns: Number(process.env.BQWIDGET_RUNS ?? 2_000) },
    );
  });

  it.each([
    [">".repeat(32_000)],
    ["> ".repeat(8_000)],
    ["[".repeat(32_000)],
    ["a_".repeat(8_000)],
    ["**a*".repeat(4_000)],
    ["`a ".repeat(5_000)],
    [`${"a.".repeat(7_999)}@`],
    [Array.from({ length: 170 }, (_, depth) => `${" ".repeat(depth)}- a`).join("\n")],
  ])("renders %.12s… in less than 250 ms, completely", async (text) => {
    let root!: HTMLElement;
    const time = cpuTime(() => {
      tokenize(text);
      root = draw(text);
    });
    expect(time).toBeLessThan(250);
    expectSafe(root);
    await vi.waitFor(() => expect(clientOf({ do: "parse", text }).cached({ do: "parse", text }) ?? isPlain(text)).toBeTruthy(), { timeout: 18_000 });
    expectSafe(root);
  });
});

describe("a URL", () => {
  it.each(["http://a.b/", "https://a.b/?c#d", "mailto:a@b.c"])("%s becomes a link", (href) => {
    expect(safeUrl(href)).toBe(href);
  });

  it.each(["javascript:alert(1)", "JAVASCRIPT:1", " javascript:1", "java\nscript:1", "data:,x", "file:///x", "blob:x", "x", ""])(
    "%j does not",
    (href) => {
      expect(safeUrl(href)).toBeNull();
    },
  );
});
