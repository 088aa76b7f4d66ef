/** The frames of tests/frames.json: what the Python side reads and writes, this side reads too. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DRAFT_SCHEMAS } from "../../src/protocol/client-frames";
import { asEntry, asServerFrame } from "../../src/protocol/guards";
import type { Guard } from "../../src/protocol/schema";

interface Example {
  readonly name: string;
  readonly direction: "server" | "client" | "entry";
  readonly json: Readonly<Record<string, unknown>>;
}

const examples = JSON.parse(readFileSync(new URL("../../../tests/frames.json", import.meta.url), "utf8")) as Example[];
const examplesOf = (direction: Example["direction"]): Example[] => examples.filter((each) => each.direction === direction);
const drafts: Readonly<Record<string, Guard<unknown>>> = DRAFT_SCHEMAS;
const OTHER_CLIENT_TYPES = ["chat.typing", "chat.resume", "chat.ping", "chat.read", "chat.stop", "wave"];
/** Only kernels and agents send these. */
const KERNEL_TYPES = ["chat.append", "chat.step", "chat.end", "chat.commands"];
const OPTIONAL = [
  ...["read", "member", "role", "share", "pins"],
  ...["type", "prev", "cid", "retry_ms", "members", "message", "motd", "shard", "user", "now"],
  ...["field", "replace", "progress", "same_commands"],
];
/** Of a type that carries these optional fields in other frames. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  ack: ["cid", "seq", "at", "dup"],
  stop: ["target", "user"],
  error: ["code", "message"],
};

describe("the shared examples", () => {
  it.each(examplesOf("server"))("server $name", ({ name, json }) => {
    if (name === "unknown-type") expect(asServerFrame(json)).toBeNull();
    else expect(asServerFrame(json)).toEqual(json);
  });

  it.each(examplesOf("entry"))("entry $name", ({ json }) => {
    expect(asEntry(json)).toEqual(json);
  });

  it.each(examplesOf("client"))("client $name", ({ json }) => {
    const guard = drafts[String(json.type)];
    if (guard === undefined) return expect([...OTHER_CLIENT_TYPES, ...KERNEL_TYPES]).toContain(json.type);
    expect(guard(json)).toBe(true);
    for (const field of ["cid", "user"]) expect(guard({ ...json, [field]: undefined }), `without ${field}`).toBe(false);
  });

  it.each(examplesOf("server").filter(({ name }) => name !== "unknown-type"))(
    "server $name is rejected without any of its required fields",
    ({ json }) => {
      const required = REQUIRED[String(json.type)] ?? Object.keys(json).filter((field) => !OPTIONAL.includes(field));
      for (const field of required) {
        const { [field]: _, ...rest } = json;
        expect(asServerFrame(rest), `without ${field}`).toBeNull();
        expect(asServerFrame({ ...rest, [field]: { wrong: [] } }), `with a wrong ${field}`).toBeNull();
      }
    },
  );
});

describe("guards", () => {
  it("reject values that are not frames", () => {
    for (const value of [null, 1, "hello", [], [{ type: "synced", seq: 1 }], {}, { type: 1 }, { type: "constructor" }]) {
      expect(asServerFrame(value)).toBeNull();
    }
  });

  it("read an optional field that is null as absent", () => {
    const entry = { seq: 1, room: "r", user: "u", text: "t", at: 1, re: null, ask: { choices: null, from: "ada" } };
    expect(asEntry(entry)).toEqual({ seq: 1, room: "r", user: "u", text: "t", at: 1, ask: { from: "ada" } });
  });
});
