import { expect, test } from "vitest";
import { parseInvite } from "../../src/view/invite-screen";

test.each([
  ["http://127.0.0.1:8765/rooms/team-1#invite=abc_-1", { code: "abc_-1", room: "team-1" }],
  ["  https://chat.example.org/base/rooms/lobby#invite=x&m=3 ", { code: "x", room: "lobby" }],
  ["#invite=abc", { code: "abc", room: null }],
  [" abc ", { code: "abc", room: null }],
  ["https://example.org/rooms/lobby", { code: "https://example.org/rooms/lobby", room: null }],
])("the invite in %s", (given, invite) => {
  expect(parseInvite(given)).toEqual(invite);
});
