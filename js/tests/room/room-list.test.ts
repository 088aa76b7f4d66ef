// @vitest-environment happy-dom
/** The list of rooms: what is unread is counted from where this browser has read to. */

import { describe, expect, it } from "vitest";
import { ordered, roomRows, type RoomRow } from "../../src/model/rooms";
import type { Message } from "../../src/protocol/entries";
import type { ListedRoom } from "../../src/protocol/rooms";
import { RoomList } from "../../src/room/room-list";

const message = (seq: number, text: string, user = "bob"): Message => ({ seq, room: "runs", user, text, at: seq });

/** A server with one room, and a browser's storage. */
function fixture(messages: Message[], stored: Map<string, number> | null) {
  const requests: number[] = [];
  const server = { messages, unread: undefined as number | undefined, stored };
  const list = new RoomList({
    fetchRooms: () => {
      const seq = server.messages.at(-1)?.seq ?? 0;
      const room: ListedRoom = { name: "runs", seq, members: 0, ...(server.unread !== undefined && { unread: server.unread }) };
      return Promise.resolve([room]);
    },
    fetchAfter: (_room, after, limit) => {
      requests.push(after);
      return Promise.resolve(server.messages.filter(({ seq }) => seq > after).slice(0, limit));
    },
    loadReadSeqs: () => server.stored,
    saveReadSeqs: (seqs) => {
      server.stored = new Map(seqs);
    },
    isOwn: ({ user }) => user === "ada",
    mentionsReader: ({ text }) => text.includes("@ada"),
  });
  const runs = (): RoomRow => list.state.value.rows.find(({ name }) => name === "runs")!;
  return { list, server, requests, runs };
}

describe("a list of rooms", () => {
  it("has nothing unread for a browser that has read nothing yet, and then what comes", async () => {
    const { list, server, requests, runs } = fixture([message(1, "old")], null);
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 0 });
    expect(server.stored).toEqual(new Map([["runs", 1]]));
    server.messages.push(message(2, "one"), message(3, "mine", "ada"), message(4, "@ada two"));
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 2, mentions: 1 });
    server.messages.push(message(5, "three"));
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 3, mentions: 1 });
    expect(requests).toEqual([1, 4]); // only what was not counted yet
    await list.refresh();
    expect(requests).toEqual([1, 4]);
    list.stop();
  });

  it("counts a room that is new to this browser from its first message", async () => {
    const { list, runs } = fixture([message(1, "one"), message(2, "two")], new Map([["lobby", 7]]));
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 2 });
    list.stop();
  });

  it("has nothing unread in what was read here, or in another tab", async () => {
    const { list, server, runs } = fixture([message(1, "one"), message(2, "two")], new Map());
    await list.refresh();
    list.markRead("runs", 1);
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 1 });
    expect(server.stored).toEqual(new Map([["runs", 1]]));
    server.stored = new Map([["runs", 2]]);
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 0 });
    list.stop();
  });

  it("stops counting at 100, and counts again after a log that was replaced by an older one", async () => {
    const many = Array.from({ length: 300 }, (_, index) => message(index + 1, "one of many"));
    const { list, server, requests, runs } = fixture(many, new Map());
    await list.refresh();
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 100 });
    expect(requests).toEqual([0]);
    list.markRead("runs", 300);
    server.messages = [message(1, "from the backup")];
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 0 });
    server.messages.push(message(2, "after it"));
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 1 });
    list.stop();
  });

  it("takes the server's count where the server knows how far the reader has read", async () => {
    const { list, server, requests, runs } = fixture([message(1, "one")], null);
    server.unread = 1;
    await list.refresh();
    expect(runs()).toMatchObject({ unread: 1 });
    expect(requests).toEqual([]);
    list.markRead("runs", 1);
    expect(runs()).toMatchObject({ unread: 0 }); // at once, not with the server's next answer
    list.stop();
  });

  it("keeps its rows when the server can't be reached, and says so", async () => {
    const { list, server } = fixture([message(1, "one")], null);
    await list.refresh();
    Object.defineProperty(server, "messages", {
      get: () => {
        throw new TypeError("Failed to fetch");
      },
    });
    await list.refresh();
    expect(list.state.value).toMatchObject({ loaded: true, error: { code: "unreachable" } });
    expect(list.state.value.rows.map(({ name }) => name)).toEqual(["lobby", "runs"]);
    list.stop();
  });
});

describe("the order of rooms", () => {
  const row = (name: string, unread = 0, mentions = 0): RoomRow => ({ name, members: 0, unread, mentions });
  const names = (rows: readonly RoomRow[]): string[] => rows.map(({ name }) => name);

  it("has mentions first, then what is unread, then names", () => {
    expect(names(ordered([row("a"), row("b", 2), row("c", 1, 1), row("d", 1)], null))).toEqual(["c", "b", "d", "a"]);
  });

  it("stays while the reader aims at a row", () => {
    expect(names(ordered([row("new", 1), row("b"), row("a", 3)], ["a", "b"]))).toEqual(["a", "b", "new"]);
  });

  it("has the lobby on a server without rooms", () => {
    expect(names(roomRows([], new Map(), new Map()))).toEqual(["lobby"]);
  });
});
