/** Commands: found in a text, collected from the members, matched while they are written. */

import { describe, expect, it } from "vitest";
import type { Member } from "../../../src/protocol/server-frames";
import { commandAt, commandName, matchingCommands, offeredCommands, usageOf } from "../../../src/view/composer/commands";

const bot = (user: string, ...names: string[]): Member => ({ user, kind: "kernel", commands: names.map((name) => ({ name })) });

describe("a message is a command", () => {
  it.each([
    ["/mean 3 4 8", "mean"],
    ["/help", "help"],
    ["/mean\n3 4", "mean"],
    ["/läs-en_2", "läs-en_2"],
    ["/usr/bin/python", null],
    ["/", null],
    ["/ mean", null],
    [" /mean", null],
    ["see /mean", null],
    ["//", null],
    ["/mean.", null],
    [`/${"x".repeat(33)}`, null],
  ])("%j: %j", (text, name) => expect(commandName(text)).toBe(name));

  it.each([
    ["/", 1, { start: 0, query: "" }],
    ["/me 3", 3, { start: 0, query: "me" }],
    ["/me 3", 4, null],
    ["/me", 0, null],
    ["a /me", 5, null],
  ])("while it is written: %j at %i", (text, caret, found) => expect(commandAt(text, caret)).toEqual(found));
});

describe("the offered commands", () => {
  const names = (members: Member[]): string[] => offeredCommands({ members }, "").map(({ name }) => name);

  it("are those of all members, once each, with all who offer them", () => {
    const offered = offeredCommands({ members: [bot("b", "sum", "mean"), { user: "ada" }, bot("a", "mean"), bot("a", "mean")] }, "");
    expect(offered.map(({ name, users }) => [name, users])).toEqual([
      ["help", []],
      ["mean", ["b", "a"]],
      ["sum", ["b"]],
    ]);
  });

  it("have help if there is any", () => {
    expect(names([])).toEqual([]);
    expect(names([bot("a", "help", "mean")])).toEqual(["help", "mean"]);
  });

  it("match by any part of the name, those that start with it first; none if the name is complete", () => {
    const offered = offeredCommands({ members: [bot("a", "mean", "Median", "geo-mean")] }, "");
    const match = (query: string): string[] => matchingCommands(offered, { start: 0, query }).map(({ name }) => name);
    expect(match("")).toEqual(["geo-mean", "help", "mean", "Median"]);
    expect(match("ME")).toEqual(["mean", "Median", "geo-mean"]);
    expect(match("help")).toEqual([]);
    expect(match("x")).toEqual([]);
  });

  it("show how they are written", () => {
    expect(usageOf({ name: "mean", usage: "/mean NUMBERS..." })).toBe("/mean NUMBERS...");
    expect(usageOf({ name: "mean", usage: "NUMBERS..." })).toBe("/mean NUMBERS...");
    expect(usageOf({ name: "mean" })).toBe("/mean");
  });
});
