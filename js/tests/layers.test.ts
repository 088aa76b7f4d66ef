/** The structure of src/: which folder may import what, no cycles, and modules and folders of a limited size. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));
const MAX_LINES = 300;
const MAX_MODULES = 15;

/** From each folder to the folders, modules and packages that it may import, in addition to its own modules. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  model: ["protocol"],
  i18n: ["protocol"],
  "worker/markdown": ["marked"],
  worker: ["worker/markdown", "marked", "lowlight", "highlight.js/lib/languages"],
  "transport/comm": ["protocol", "model", "transport/source", "transport/jupyter-option"],
  "transport/http": ["protocol", "model", "transport/source"],
  transport: ["protocol", "model", "transport/http"],
  // The interface, but neither the socket nor the comm.
  room: ["protocol", "model", "transport/source", "@preact/signals"],
  "view/shared": ["protocol", "model", "i18n", "worker", "preact"],
  "view/attachments": ["protocol", "i18n", "room", "view/shared", "preact"],
  "view/questions": ["protocol", "model", "i18n", "view/shared", "preact"],
  "view/markdown": ["i18n", "worker", "worker/markdown", "view/shared", "preact", "marked"],
  "view/messages": [
    ...["protocol", "model", "i18n", "room", "view/shared", "view/attachments", "view/questions", "view/markdown", "preact"],
  ],
  "view/composer": ["protocol", "model", "i18n", "worker", "room", "view/shared", "view/emoji", "view/attachments", "preact"],
  "view/emoji": ["i18n", "view/shared", "preact"],
  "view/finding": ["protocol", "model", "i18n", "room", "view/shared", "view/attachments", "preact"],
  view: [
    ...["protocol", "model", "i18n", "room", "view/shared", "view/finding", "view/attachments", "view/messages", "view/composer", "view/emoji"],
    "preact",
  ],
  "view/rooms": ["protocol", "model", "i18n", "room", "view", "view/shared", "preact", "@preact/signals"],
  // Of the view almost only types: its code is loaded later.
  lab: ["panel", "view/shared/notebooks", "protocol/entries", "transport/jupyter-option"],
  // The entry points.
  ".": [
    ...["protocol", "model", "i18n", "room", "transport", "transport/comm", "transport/http", "worker", "view", "view/shared"],
    ...["view/rooms", "lab", "preact", "@preact/signals", "temml"],
  ],
};

const modules = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name));
const read = (module: string): string => readFileSync(join(SRC, module), "utf8");

/** The modules (without extension) and packages that a module imports, types included. */
function importsOf(module: string): string[] {
  return ts.preProcessFile(read(module)).importedFiles.map(({ fileName }) => {
    return fileName.startsWith(".") ? normalize(join(dirname(module), fileName)) : fileName;
  });
}

function isAllowed(target: string, folder: string): boolean {
  const allowed = [folder, ...(ALLOWED[folder] ?? [])];
  return allowed.includes(target) || allowed.includes(dirname(target));
}

describe("the folders of src", () => {
  it("are all in the table, and the table has no others", () => {
    expect(new Set(modules.map(dirname))).toEqual(new Set(Object.keys(ALLOWED)));
  });

  it("are all described in the README", () => {
    const rows = readFileSync(join(SRC, "../README.md"), "utf8").matchAll(/^\| `([a-z0-9/]+)\/` \|/gm);
    expect(new Set([...rows].map(([, folder]) => folder))).toEqual(new Set(Object.keys(ALLOWED).filter((each) => each !== ".")));
  });

  it.each(Object.keys(ALLOWED))("%s imports only what it may", (folder) => {
    const forbidden = modules
      .filter((module) => dirname(module) === folder)
      .flatMap((module) => importsOf(module).map((target) => [module, target] as const))
      .filter(([, target]) => !isAllowed(target, folder));
    expect(forbidden).toEqual([]);
  });

  it(`have at most ${MAX_MODULES} modules of at most ${MAX_LINES} lines`, () => {
    for (const folder of Object.keys(ALLOWED)) {
      expect(modules.filter((module) => dirname(module) === folder).length, folder).toBeLessThanOrEqual(MAX_MODULES);
    }
    const long = modules.filter((module) => read(module).trimEnd().split("\n").length > MAX_LINES);
    expect(long).toEqual([]);
  });

  it("have no import cycle", () => {
    const graph = new Map(modules.map((module) => [module.replace(/(\.d)?\.tsx?$/, ""), importsOf(module)]));
    const done = new Set<string>();
    const visit = (module: string, path: readonly string[]): void => {
      expect(path).not.toContain(module);
      if (done.has(module)) return;
      for (const target of graph.get(module) ?? []) visit(target, [...path, module]);
      done.add(module);
    };
    for (const module of graph.keys()) visit(module, []);
  });
});
