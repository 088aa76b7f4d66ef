/** The socket source against a real WebSocket server that says, refuses, closes and falls silent as told. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import { backoff, LONGEST } from "../../src/transport/backoff";
import type { Status } from "../../src/protocol/frames";
import { NoSuchPage } from "../../src/transport/source";
import { SocketSource } from "../../src/transport/socket-source";
import type { Input } from "../../src/model/state";
import { LIMITS, Log } from "../support/fake-log";

const log = new Log();
const hello = (heartbeat_ms = 20_000): string => {
  const { epoch } = log;
  return JSON.stringify({ type: "hello", room: "lobby", epoch, seq: 0, oldest: 0, resumed: true, limits: LIMITS, heartbeat_ms });
};

interface Join {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  readonly heard: string[];
}

let http: Server;
let sockets: WebSocketServer;
let source: SocketSource;
let taken: Input[];
let joins: Join[];
/** What the server answers over HTTP, to a refused join and to the question why alike. */
let refuse: { status: number; body: string; retryAfter?: number } | null;

const statuses = (): Status["status"][] => taken.flatMap((input) => (input.type === "status" ? [input.status] : []));
const until = (condition: () => boolean): Promise<void> => vi.waitFor(() => expect(condition()).toBe(true), { timeout: 8_000, interval: 5 });

beforeEach(async () => {
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible" }));
  vi.stubGlobal("addEventListener", () => undefined);
  [taken, joins, refuse] = [[], [], null];
  sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "chat.v1" });
  http = createServer((_request, response) => {
    if (refuse?.retryAfter !== undefined) response.setHeader("retry-after", refuse.retryAfter);
    response.writeHead(refuse?.status ?? 200, { "content-type": "application/json" }).end(refuse?.body ?? "[]");
  });
  http.on("upgrade", (request, raw, head) => {
    if (refuse !== null) return void raw.end(`HTTP/1.1 ${refuse.status} No\r\nContent-Length: 0\r\n\r\n`);
    sockets.handleUpgrade(request, raw, head, (socket) => {
      const heard: string[] = [];
      socket.on("message", (data: Buffer) => heard.push(data.toString()));
      joins.push({ socket, request, heard });
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
});

afterEach(() => {
  source.stop();
  for (const client of sockets.clients) client.terminate();
  http.closeAllConnections();
  http.close();
  vi.unstubAllGlobals();
});

function start(options: { patience?: number } = {}): void {
  source = new SocketSource({
    base: `http://127.0.0.1:${(http.address() as AddressInfo).port}/hub/`,
    room: "lobby",
    random: () => 0,
    // Outside a browser an error without a listener would be thrown; the close after it is what counts.
    dial: (url, protocol) => new WebSocket(url, [protocol]).on("error", () => undefined) as unknown as globalThis.WebSocket,
    ...options,
  });
  source.start({
    take: (inputs) => taken.push(...inputs),
    cursor: () => ({ after: 41, epoch: "e 1" }),
    user: () => "ada & co",
  });
}

async function joined(heartbeat_ms?: number): Promise<Join> {
  await until(() => joins.length > 0);
  const join = joins.at(-1)!;
  join.socket.send(hello(heartbeat_ms));
  await until(() => statuses().at(-1) === "open");
  return join;
}

describe("joining", () => {
  it("says where it goes on, and who it is", async () => {
    start();
    const { request } = await joined();
    const url = new URL(request.url ?? "", "http://x");
    expect(url.pathname).toBe("/hub/rooms/lobby");
    expect(Object.fromEntries(url.searchParams)).toEqual({ kind: "person", after: "41", epoch: "e 1", user: "ada & co" });
    expect(request.headers["sec-websocket-protocol"]).toBe("chat.v1");
  });

  it("passes frames on, and nothing that is none", async () => {
    start();
    const { socket } = await joined();
    for (const data of ["not json", "[]", '{"type":"later"}', '{"type":"status","status":"closed","error":null,"retry_at":null,"queued":0}']) {
      socket.send(data);
    }
    socket.send(Buffer.from([1, 2]));
    socket.send('{"type":"synced","seq":7}');
    await until(() => taken.at(-1)?.type === "synced");
    expect(taken.map(({ type }) => type)).toEqual(["status", "hello", "synced"]);
  });

  it.each([401, 403, 404])("that is refused with %i ends with the server's words", async (status) => {
    refuse = { status, body: '{"error":{"code":"no","message":"Not you"}}' };
    start();
    await until(() => statuses().at(-1) === "closed");
    expect(taken.find((input) => input.type === "status")).toMatchObject({ error: { code: "no", message: "Not you" } });
    expect(taken.at(-1)).toEqual({ type: "undeliverable", error: { code: "no", message: "Not you" } });
    expect(source.send({ type: "chat.ping" })).toBe(false);
  });

  it("that is refused for now is tried again", async () => {
    refuse = { status: 502, body: "<html>" };
    start();
    await until(() => statuses().at(-1) === "reconnecting");
    refuse = null;
    await joined();
    expect(statuses()).toEqual(["reconnecting", "open"]);
  });

  it("that is refused for want of room says so, and waits as long as it is told", async () => {
    refuse = { status: 503, body: '{"error":{"code":"full","message":"all 2 places are taken"}}', retryAfter: 60 };
    start();
    const before = Date.now();
    await until(() => statuses().at(-1) === "reconnecting");
    const told = taken.at(-1) as Status;
    expect(told.error).toEqual({ code: "full", message: "all 2 places are taken" });
    expect(told.retry_at).toBeGreaterThanOrEqual(before + 60_000);
  });

  it("that gets no answer is given up and tried again", async () => {
    start({ patience: 50 });
    await until(() => joins.length === 1);
    await until(() => statuses().at(-1) === "reconnecting");
    await until(() => joins.length === 2);
  });
});

describe("a connection that ends", () => {
  it.each([1001, 1006, 1013, 4008, 4029])("with %i is made again", async (code) => {
    start();
    const { socket } = await joined();
    if (code === 1006) socket.terminate();
    else socket.close(code);
    await until(() => joins.length === 2);
    await joined();
    expect(statuses()).toEqual(["open", "reconnecting", "open"]);
  });

  it("waits as long as `bye` asks, and says until when", async () => {
    start();
    const { socket } = await joined();
    const before = Date.now();
    socket.send('{"type":"bye","code":1001,"retry_ms":600}');
    socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    const retries = taken.flatMap((input) => (input.type === "status" ? [input.retry_at ?? 0] : []));
    expect(retries.at(-1)).toBeGreaterThanOrEqual(before + 600);
    document.dispatchEvent(new Event("visibilitychange"));
    await until(() => joins.length === 2);
    expect(Date.now() - before).toBeGreaterThanOrEqual(600);
  });

  it("is made again at once where the reader comes back", async () => {
    start();
    const { socket } = await joined();
    socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    const before = Date.now();
    document.dispatchEvent(new Event("visibilitychange"));
    await until(() => joins.length === 2);
    expect(Date.now() - before).toBeLessThan(200);
  });

  it.each([4401, 4403, 4404])("with %i is not, and says why", async (code) => {
    start();
    const { socket } = await joined();
    socket.close(code);
    await until(() => statuses().at(-1) === "closed");
    expect(taken.at(-1)).toMatchObject({ type: "undeliverable" });
    document.dispatchEvent(new Event("visibilitychange"));
    expect(joins).toHaveLength(1);
  });

  it.each([1003, 1007, 1009])("with %i for what we sent is made again, but that isn't sent again", async (code) => {
    start();
    const { socket } = await joined();
    socket.close(code);
    await until(() => joins.length === 2);
    expect(taken.map(({ type }) => type)).toContain("undeliverable");
  });

  it("silently is noticed: a ping, then no patience", async () => {
    start({ patience: 100 });
    const { heard, socket } = await joined(40);
    await until(() => heard.includes('{"type":"chat.ping"}'));
    socket.send('{"type":"synced","seq":0}');
    await until(() => heard.length === 2);
    await until(() => statuses().at(-1) === "reconnecting");
  });
});

describe("sending", () => {
  it("is dropped while offline: the next hello sends again what was not acknowledged", async () => {
    start();
    const first = await joined();
    source.resume({ after: 3, epoch: "e1" });
    await until(() => first.heard.length === 1);
    expect(first.heard).toEqual(['{"type":"chat.resume","after":3,"epoch":"e1"}']);
    first.socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    expect(source.send({ type: "chat.ping" })).toBe(true);
    await until(() => joins.length === 2);
    const second = await joined();
    second.socket.close(4404);
    await until(() => statuses().at(-1) === "closed");
    expect(second.heard).toEqual([]);
  });
});

describe("pages", () => {
  it("are read over HTTP; a refusal for good is told from one for now", async () => {
    start();
    await joined();
    await expect(source.page(9, 50)).resolves.toEqual([]);
    await expect(source.log(9, 50)).resolves.toEqual([]);
    refuse = { status: 404, body: "{}" };
    await expect(source.log(9, 50)).rejects.toThrow(NoSuchPage);
    refuse = { status: 503, body: "{}" };
    await expect(source.log(9, 50)).rejects.not.toThrow(NoSuchPage);
  });
});

describe("backoff", () => {
  it("is at least what the server asked, at most its ceiling more, and spread in between", () => {
    fc.assert(
      fc.property(fc.nat(1_000), fc.nat(60_000), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, asked, random) => {
        const delay = backoff(attempt, asked, () => random);
        expect(delay).toBeGreaterThan(asked);
        expect(delay).toBeLessThanOrEqual(asked + LONGEST);
      }),
    );
    expect(backoff(50, 0, () => 1)).toBe(LONGEST);
    expect(backoff(0, 0, () => 1)).toBe(1_000);
  });
});
