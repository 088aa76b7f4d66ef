/** Syntax highlighting: splits code into tokens, as plain data. Their texts joined are the code, unchanged. */

import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import julia from "highlight.js/lib/languages/julia";
import python from "highlight.js/lib/languages/python";
import pythonRepl from "highlight.js/lib/languages/python-repl";
import r from "highlight.js/lib/languages/r";
import rust from "highlight.js/lib/languages/rust";
import shell from "highlight.js/lib/languages/shell";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

export type TokenKind = "keyword" | "string" | "number" | "comment" | "name" | "type" | "meta" | "added" | "removed";
export type CodeToken = string | readonly [TokenKind, string];

/** From the classes of highlight.js, about forty, to the kinds that have a colour; all others are plain text. */
const TOKEN_KINDS: Readonly<Record<string, TokenKind>> = {
  keyword: "keyword",
  literal: "keyword",
  "selector-tag": "keyword",
  string: "string",
  regexp: "string",
  link: "string",
  number: "number",
  symbol: "number",
  comment: "comment",
  quote: "comment",
  title: "name",
  section: "name",
  name: "name",
  built_in: "type",
  type: "type",
  class: "type",
  attr: "meta",
  attribute: "meta",
  meta: "meta",
  variable: "meta",
  addition: "added",
  deletion: "removed",
};
/** Code inside a string: `f"{here}"`. */
const SUBSTITUTION_CLASS = "subst";
const MAX_TOKENS = 4_000;

const lowlight = createLowlight({
  ...{ bash, c, cpp, css, diff, go, ini, java, javascript, json, julia, python, "python-repl": pythonRepl, r, rust },
  ...{ shell, sql, typescript, xml, yaml },
});
lowlight.registerAlias({ python: ["ipython", "python3"], ini: ["toml"] });

type Tree = ReturnType<typeof lowlight.highlight>;
type Node = Tree["children"][number];

/** Null for an unknown language, and for code that would be too many elements. */
export function highlight(code: string, language: string): readonly CodeToken[] | null {
  if (!lowlight.registered(language)) return null;
  const tokens = flatten(lowlight.highlight(language, code));
  return tokens.length > MAX_TOKENS ? null : tokens;
}

/** Not recursive: the tree of hostile code can be as deep as the code is long. */
function flatten(tree: Tree): CodeToken[] {
  const tokens: CodeToken[] = [];
  const stack: [Node, TokenKind | null][] = tree.children.map((node): [Node, null] => [node, null]).reverse();
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [node, kind] = next;
    if (node.type === "text") tokens.push(kind === null ? node.value : [kind, node.value]);
    if (node.type !== "element") continue;
    const inner = kindOf(node, kind);
    for (const child of [...node.children].reverse()) stack.push([child, inner]);
  }
  return tokens;
}

function kindOf({ properties }: Node & { type: "element" }, parent: TokenKind | null): TokenKind | null {
  const name = String((properties.className as unknown[] | undefined)?.[0]).replace("hljs-", "");
  if (name === SUBSTITUTION_CLASS) return null;
  return Object.hasOwn(TOKEN_KINDS, name) ? TOKEN_KINDS[name]! : parent;
}
