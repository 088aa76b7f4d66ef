// @vitest-environment happy-dom
/** The same structure as on GitHub, or a reason why not. */

import { render } from "preact";
import { describe, expect, it } from "vitest";
import { Markdown } from "../../../src/view/markdown/markdown";
import { CASES } from "./github";

const ALIGNMENT: Readonly<Record<string, string>> = { "bq-left": "left", "bq-center": "center", "bq-right": "right" };
/** Elements without a meaning of their own. */
const TRANSPARENT = ["DIV", "SPAN"];
const escaped = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function structure(node: Node): string {
  if (node.nodeType === Node.TEXT_NODE) {
    const between = node.parentElement?.id === "root" && node.textContent!.trim() === "";
    return between ? "" : escaped(node.textContent!).replace(/ *\n/g, "<br>");
  }
  const element = node as HTMLElement;
  if (element.tagName === "BUTTON") return "";
  if (element.tagName === "INPUT") return (element as HTMLInputElement).checked ? "[x] " : "[ ] ";
  const content = [...element.childNodes].map(structure).join("");
  if (TRANSPARENT.includes(element.tagName)) return content;
  const attributes = ["href", "start", "value"].map((name) => [name, element.getAttribute(name)]);
  attributes.push(["align", ALIGNMENT[element.className] ?? null]);
  const shown = attributes.filter(([name, value]) => value !== null && !(name === "start" && value === "1"));
  const tag = element.tagName.toLowerCase();
  return `<${tag}${shown.map(([name, value]) => ` ${name}="${value}"`).join("")}>${tag === "hr" ? "" : `${content}</${tag}>`}`;
}

describe("the structure of Markdown", () => {
  it.each(CASES.map((each) => [each.text, each] as const))("%j", (text, { github, ours, because }) => {
    const root = document.createElement("div");
    root.id = "root";
    render(<Markdown text={text} />, root);
    expect(structure(root)).toBe(ours ?? github);
    expect(ours === undefined).toBe(because === undefined);
  });

  it("is compared for at least 60 texts, most of them equal", () => {
    expect(CASES.length).toBeGreaterThanOrEqual(60);
    expect(CASES.filter(({ ours }) => ours === undefined).length).toBeGreaterThan(CASES.length * 0.6);
  });
});
