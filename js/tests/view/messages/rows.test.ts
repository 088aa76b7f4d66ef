/** What the rows of the list show of their authors. */

import { describe, expect, it } from "vitest";
import { reduce } from "../../../src/model/reducer";
import { initialState, type State } from "../../../src/model/state";
import type { Message } from "../../../src/protocol/entries";
import type { Member } from "../../../src/protocol/server-frames";
import { rowsOf } from "../../../src/view/messages/rows";

const message = (seq: number, user: string, more: Partial<Message> = {}): Message => {
  return { seq, room: "lobby", user, text: "hi", at: 1_760_000_000_000 + seq, ...more };
};
const withAll = (messages: Message[], more: Partial<State> = {}): State => ({ ...initialState("lobby", "me", ["here", "kernel"]), messages, ...more });
const rows = (state: State) => rowsOf(state, 0, state.messages.length, 1_760_000_100_000);

describe("a row", () => {
  it("marks unverified names only among verified ones", () => {
    expect(rows(withAll([message(1, "eve")])).map(({ verification }) => verification)).toEqual(["unverified"]);
    const both = withAll([message(1, "ada", { verified: true }), message(2, "eve")]);
    expect(rows(both).map(({ verification }) => verification)).toEqual(["verified", "unverified among verified"]);
    const known = withAll([message(1, "eve")], { members: [{ user: "ada", verified: true }] });
    expect(rows(known)[0]!.verification).toBe("unverified among verified");
  });

  it("starts a new group if only one of two equal names is verified", () => {
    const state = withAll([message(1, "ada", { verified: true }), message(2, "ada"), message(3, "ada", { verified: true })]);
    expect(rows(state).map(({ startsGroup }) => startsGroup)).toEqual([true, true, true]);
  });

  it("is own only if it is verified, once our name is", () => {
    const said = [message(1, "me", { cid: "1.here" }), message(2, "me", { verified: true })];
    expect(rows(withAll(said)).map(({ own }) => own)).toEqual([true, false]);
    expect(rows(withAll(said, { principal: "me" })).map(({ own }) => own)).toEqual([false, true]);
  });

  it("under an unverified name is own only if this browser or its kernel sent it", () => {
    const cids = ["1.here", "1.kernel0123456789ab", "1.there", "here", undefined];
    const said = cids.map((cid, index) => message(index + 1, "me", cid === undefined ? {} : { cid }));
    expect(rows(withAll(said)).map(({ own }) => own)).toEqual([true, true, false, false, false]);
    expect(rows(withAll(said)).map(({ startsGroup }) => startsGroup)).toEqual([true, false, true, false, false]);
    expect(rows(withAll([message(1, "eve", { cid: "1.here" })]))[0]!.own).toBe(false);
  });

  it("has the last known profile of its verified author", () => {
    const profile = { initials: "AL", color: "#123" };
    const there: Member[] = [{ user: "ada", verified: true, profile }, { user: "eve", profile: { initials: "AL" } }];
    const start = withAll([message(1, "ada", { verified: true }), message(2, "ada"), message(3, "eve")]);
    const [seen] = reduce(start, [{ type: "presence", members: there }, { type: "presence", members: [] }]);
    expect(rows(seen).map((row) => row.profile)).toEqual([profile, null, null]);
    const [again] = reduce(seen, [{ type: "presence", members: [{ ...there[0]!, profile: { ...profile } }] }]);
    expect(again.profiles).toBe(seen.profiles); // an equal profile causes no rendering
  });
});
