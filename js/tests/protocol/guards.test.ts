/** The golden frames of tests/frames.json: what the Python side reads and writes, this side reads too. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { asDraft, asEntry, asServerFrame } from "../../src/protocol/guards";

interface Golden {
  readonly name: string;
  readonly direction: "server" | "client" | "entry";
  readonly json: Readonly<Record<string, unknown>>;
}

const golden = JSON.parse(readFileSync(new URL("../../../tests/frames.json", import.meta.url), "utf8")) as Golden[];
const of = (direction: Golden["direction"]): Golden[] => golden.filter((each) => each.direction === direction);
const DRAFTS = ["chat.send", "chat.edit", "chat.delete", "chat.react"];

describe("golden frames", () => {
  it.each(of("server"))("server $name", ({ name, json }) => {
    if (name === "unknown-type") expect(asServerFrame(json)).toBeNull();
    else expect(asServerFrame(json)).toEqual(json);
  });

  it.each(of("entry"))("entry $name", ({ json }) => {
    expect(asEntry(json)).toEqual(json);
  });

  it.each(of("client"))("client $name", ({ json }) => {
    if (DRAFTS.includes(String(json.type))) expect(asDraft(json)).toEqual(json);
    else expect(asDraft(json)).toBeNull();
  });

  it.each(of("server").filter(({ name }) => name !== "unknown-type"))(
    "server $name without any one of its required fields is refused",
    ({ json }) => {
      const optional = ["type", "prev", "cid", "retry_ms", "members", "message", "motd", "shard", "user", "now"];
      const required = Object.keys(json).filter((field) => !optional.includes(field) || json.type === "ack");
      for (const field of required.filter((each) => each !== "type")) {
        const { [field]: _, ...rest } = json;
        expect(asServerFrame(rest), `without ${field}`).toBeNull();
        expect(asServerFrame({ ...rest, [field]: { wrong: [] } }), `with a wrong ${field}`).toBeNull();
      }
    },
  );
});

describe("guards", () => {
  it("take nothing that is not a frame", () => {
    for (const value of [null, 1, "hello", [], [{ type: "synced", seq: 1 }], {}, { type: 1 }, { type: "constructor" }]) {
      expect(asServerFrame(value)).toBeNull();
    }
  });

  it("read an optional field that is null as absent", () => {
    const entry = { seq: 1, room: "r", user: "u", text: "t", at: 1, re: null, ask: { choices: null, from: "ada" } };
    expect(asEntry(entry)).toEqual({ seq: 1, room: "r", user: "u", text: "t", at: 1, ask: { from: "ada" } });
  });
});
