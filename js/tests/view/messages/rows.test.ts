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

  it("tells a person from the program of the same name", () => {
    const [here, kernel] = ["0123456789ab", "89abcdef"];
    const said = [`a1.${here}`, `1.${kernel}0123456789ab`, `2.${kernel}0123456789ab`, `a2.${here}`, "c3"].map((cid, index) =>
      message(index + 1, "me", { cid }),
    );
    const start = { ...withAll(said), clients: [here, kernel] };
    expect(rows(start).map(({ program }) => program)).toEqual([null, "yourKernel", "yourKernel", null, null]);
    expect(rows(start).map(({ mine }) => mine)).toEqual([true, false, false, true, false]);
    expect(rows(start).map(({ own }) => own)).toEqual([true, true, true, true, false]);
    expect(rows(start).map(({ startsGroup }) => startsGroup)).toEqual([true, true, false, true, true]);
    const theirs = { ...start, clients: ["ffffffffffff"] };
    expect(rows(theirs).map(({ program }) => program)).toEqual([null, "kernel", "kernel", null, null]);
  });

  it("knows an agent by the message, also when the agent is not here", () => {
    const helper = { user: "helper", cid: "1.89abcdef0123456789ab" };
    const said = [message(1, "helper", { ...helper, author_kind: "agent" }), message(2, "helper", helper)];
    expect(rows(withAll(said)).map(({ program, startsGroup }) => [program, startsGroup])).toEqual([["agent", true], ["kernel", true]]);
  });

  it("shows one time for a group, and one in each five minutes of a long one", () => {
    const minute = 60_000;
    const said = [0, 1, 2, 3, 6, 9, 12].map((at, index) => message(index + 1, "ada", { at: 1_760_000_100_000 + at * minute }));
    const state = withAll([...said, message(8, "bob", { at: said.at(-1)!.at })]);
    expect(rows(state).map(({ timed }) => timed)).toEqual([false, false, false, true, false, true, true, true]);
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
