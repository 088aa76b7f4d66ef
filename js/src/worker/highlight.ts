/** Code in colours: its text cut into runs, each of one kind. Runs are data, and their text is the code, letter by letter. */

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

export type Kind = "keyword" | "string" | "number" | "comment" | "name" | "type" | "meta" | "added" | "removed";
export type Run = string | readonly [Kind, string];

/** highlight.js has some forty classes; these are told apart here, and what is not named is plain. */
const KINDS: Readonly<Record<string, Kind>> = {
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
/** Inside a string, code again: `f"{here}"`. */
const PLAIN_AGAIN = "subst";
const MOST_RUNS = 4_000;

const lowlight = createLowlight({
  ...{ bash, c, cpp, css, diff, go, ini, java, javascript, json, julia, python, "python-repl": pythonRepl, r, rust },
  ...{ shell, sql, typescript, xml, yaml },
});
lowlight.registerAlias({ python: ["ipython", "python3"], ini: ["toml"] });

type Tree = ReturnType<typeof lowlight.highlight>;
type Node = Tree["children"][number];

/** Null for a language that is not known here, and for what would be too many elements. */
export function highlight(code: string, language: string): readonly Run[] | null {
  if (!lowlight.registered(language)) return null;
  const runs = flattened(lowlight.highlight(language, code));
  return runs.length > MOST_RUNS ? null : runs;
}

/** With a stack of its own: hostile code nests as deep as it is long. */
function flattened(tree: Tree): Run[] {
  const runs: Run[] = [];
  const stack: [Node, Kind | null][] = tree.children.map((node): [Node, null] => [node, null]).reverse();
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [node, kind] = next;
    if (node.type === "text") runs.push(kind === null ? node.value : [kind, node.value]);
    if (node.type !== "element") continue;
    const inner = kindOf(node, kind);
    for (const child of [...node.children].reverse()) stack.push([child, inner]);
  }
  return runs;
}

function kindOf({ properties }: Node & { type: "element" }, around: Kind | null): Kind | null {
  const own = String((properties.className as unknown[] | undefined)?.[0]).replace("hljs-", "");
  if (own === PLAIN_AGAIN) return null;
  return Object.hasOwn(KINDS, own) ? KINDS[own]! : around;
}
