/** The socket source against a real WebSocket server that sends, rejects, closes and falls silent as a test needs. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import type { Input } from "../../src/model/state";
import { PageUnavailableError } from "../../src/protocol/errors";
import type { Status } from "../../src/protocol/server-frames";
import { SocketSource } from "../../src/transport/socket-source";
import { LIMITS, FakeLog } from "../support/fake-log";

const log = new FakeLog();
const hello = (heartbeat_ms = 20_000): string => {
  const { epoch } = log;
  return JSON.stringify({ type: "hello", room: "lobby", epoch, seq: 0, oldest: 0, resumed: true, limits: LIMITS, heartbeat_ms });
};

interface Join {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  readonly received: string[];
}

let http: Server;
let sockets: WebSocketServer;
let source: SocketSource;
let inputs: Input[];
let joins: Join[];
/** The server's HTTP answer to every request, if it rejects them. */
let rejection: { status: number; body: string; retryAfter?: number } | null;

const statuses = (): Status["status"][] => inputs.flatMap((input) => (input.type === "status" ? [input.status] : []));
/** With fake timers, each look moves them on: a machine that stops for a second then costs no timeout. */
const until = (condition: () => boolean): Promise<void> => vi.waitFor(() => expect(condition()).toBe(true), { timeout: 18_000, interval: 5 });
const fakeTimers = (): unknown => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });

beforeEach(async () => {
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible", cookie: "" }));
  vi.stubGlobal("addEventListener", () => undefined);
  [inputs, joins, rejection] = [[], [], null];
  sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "chat.v1" });
  http = createServer((_request, response) => {
    if (rejection?.retryAfter !== undefined) response.setHeader("retry-after", rejection.retryAfter);
    response.writeHead(rejection?.status ?? 200, { "content-type": "application/json" }).end(rejection?.body ?? "[]");
  });
  http.on("upgrade", (request, raw, head) => {
    if (rejection !== null) return void raw.end(`HTTP/1.1 ${rejection.status} No\r\nContent-Length: 0\r\n\r\n`);
    sockets.handleUpgrade(request, raw, head, (socket) => {
      const received: string[] = [];
      socket.on("message", (data: Buffer) => received.push(data.toString()));
      joins.push({ socket, request, received });
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
});

afterEach(() => {
  source.stop();
  vi.useRealTimers();
  for (const client of sockets.clients) client.terminate();
  http.closeAllConnections();
  http.close();
  vi.unstubAllGlobals();
});

function start(options: { responseTimeoutMs?: number; pages?: string } = {}): void {
  source = new SocketSource({
    base: `http://127.0.0.1:${(http.address() as AddressInfo).port}/hub/`,
    room: "lobby",
    member: "c0ffee",
    random: () => 0,
    // Outside a browser an error without a listener would be thrown; the close after it is what counts.
    createSocket: (url, protocol) => new WebSocket(url, [protocol]).on("error", () => undefined) as unknown as globalThis.WebSocket,
    ...options,
  });
  source.start({
    dispatch: (added) => inputs.push(...added),
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

describe("the link", () => {
  it("is the address of the room, and leads to the pages of a server elsewhere", async () => {
    start();
    expect(await source.fetchLink(null)).toMatch(/:\d+\/hub\/rooms\/lobby$/);
    source.stop();
    start({ pages: "https://chat.test/all/" });
    expect(await source.fetchLink(null)).toBe("https://chat.test/all/rooms/lobby");
  });

  it("lets people in with an invite, which the server makes or refuses", async () => {
    start({ pages: "https://chat.test/" });
    const asked = once(http, "request");
    rejection = { status: 201, body: '{"code":"c0de","uses":3,"expires":1}' };
    expect(await source.fetchLink({ uses: 3, minutes: 60 })).toBe("https://chat.test/rooms/lobby#invite=c0de");
    const [{ method, url }] = (await asked) as [IncomingMessage];
    expect(`${method} ${url}`).toBe("POST /hub/invites");
    rejection = { status: 403, body: '{"error":{"code":"read_only","message":"no"}}' };
    await expect(source.fetchLink({ uses: 3, minutes: 60 })).rejects.toMatchObject({ info: { code: "read_only" } });
    rejection = { status: 200, body: "{}" };
    await expect(source.fetchLink({ uses: 3, minutes: 60 })).rejects.toMatchObject({ info: { code: "unreadable" } });
  });
});

describe("joining", () => {
  it("sends the cursor and the user's name", async () => {
    start();
    const { request } = await joined();
    const url = new URL(request.url ?? "", "http://x");
    expect(url.pathname).toBe("/hub/rooms/lobby");
    expect(Object.fromEntries(url.searchParams)).toEqual({ kind: "person", live: "1", member: "c0ffee", after: "41", epoch: "e 1", user: "ada & co" });
    expect(request.headers["sec-websocket-protocol"]).toBe("chat.v1");
  });

  it("dispatches frames, and ignores everything else", async () => {
    start();
    const { socket } = await joined();
    for (const data of ["not json", "[]", '{"type":"later"}', '{"type":"status","status":"closed","error":null,"retry_at":null,"queued":0}']) {
      socket.send(data);
    }
    socket.send(Buffer.from([1, 2]));
    socket.send('{"type":"synced","seq":7}');
    await until(() => inputs.at(-1)?.type === "synced");
    expect(inputs.map(({ type }) => type)).toEqual(["status", "hello", "synced"]);
  });

  it.each([401, 403, 404])("that is rejected with %i ends with the server's error", async (status) => {
    rejection = { status, body: '{"error":{"code":"no","message":"Not you"}}' };
    start();
    await until(() => statuses().at(-1) === "closed");
    expect(inputs.find((input) => input.type === "status")).toMatchObject({ error: { code: "no", message: "Not you" } });
    expect(inputs.at(-1)).toEqual({ type: "undeliverable", error: { code: "no", message: "Not you" } });
    expect(source.send({ type: "chat.ping" })).toBe(false);
  });

  it("that is rejected temporarily is retried", async () => {
    rejection = { status: 502, body: "<html>" };
    start();
    await until(() => statuses().at(-1) === "reconnecting");
    rejection = null;
    await joined();
    expect(statuses()).toEqual(["reconnecting", "open"]);
  });

  it("that is rejected by a full server waits as long as the server says", async () => {
    rejection = { status: 503, body: '{"error":{"code":"full","message":"the server is full"}}', retryAfter: 60 };
    start();
    const before = Date.now();
    await until(() => statuses().at(-1) === "reconnecting");
    const status = inputs.at(-1) as Status;
    expect(status.error).toEqual({ code: "full", message: "the server is full" });
    expect(status.retry_at).toBeGreaterThanOrEqual(before + 60_000);
  });

  it("without an answer is retried after a timeout", async () => {
    fakeTimers();
    start({ responseTimeoutMs: 50 });
    await until(() => joins.length === 1);
    await until(() => statuses().at(-1) === "reconnecting");
    await until(() => joins.length === 2);
  });
});

describe("a connection that ends", () => {
  it.each([1001, 1006, 1013, 4008, 4029])("with %i is replaced by a new one", async (code) => {
    start();
    const { socket } = await joined();
    if (code === 1006) socket.terminate();
    else socket.close(code);
    await until(() => joins.length === 2);
    await joined();
    expect(statuses()).toEqual(["open", "reconnecting", "open"]);
  });

  it("waits as long as `bye` asks, and reports until when", async () => {
    start();
    const { socket } = await joined();
    const before = Date.now();
    socket.send('{"type":"bye","code":1001,"retry_ms":600}');
    socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    const retries = inputs.flatMap((input) => (input.type === "status" ? [input.retry_at ?? 0] : []));
    expect(retries.at(-1)).toBeGreaterThanOrEqual(before + 600);
    document.dispatchEvent(new Event("visibilitychange"));
    await until(() => joins.length === 2);
    expect(Date.now() - before).toBeGreaterThanOrEqual(600);
  });

  it("is replaced at once when the page becomes visible", async () => {
    start();
    const { socket } = await joined();
    fakeTimers();
    socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    const again = once(http, "upgrade"); // the timers stand still meanwhile
    document.dispatchEvent(new Event("visibilitychange"));
    await again;
  });

  it.each([4401, 4403, 4404])("with %i is final, and the reason is reported", async (code) => {
    start();
    const { socket } = await joined();
    socket.close(code);
    await until(() => statuses().at(-1) === "closed");
    expect(inputs.at(-1)).toMatchObject({ type: "undeliverable" });
    document.dispatchEvent(new Event("visibilitychange"));
    expect(joins).toHaveLength(1);
  });

  it.each([1003, 1007, 1009])("with %i, caused by our frame, is replaced, but the frame is not sent again", async (code) => {
    start();
    const { socket } = await joined();
    socket.close(code);
    await until(() => joins.length === 2);
    expect(inputs.map(({ type }) => type)).toContain("undeliverable");
  });

  it("without a close is detected by a ping without an answer", async () => {
    fakeTimers();
    start({ responseTimeoutMs: 100 });
    const { received, socket } = await joined(40);
    await until(() => received.includes('{"type":"chat.ping"}'));
    socket.send('{"type":"synced","seq":0}');
    await until(() => received.length === 2);
    await until(() => statuses().at(-1) === "reconnecting");
  });
});

describe("sending", () => {
  it("is dropped while offline: the next hello causes the drafts to be sent again", async () => {
    start();
    const first = await joined();
    source.resume({ after: 3, epoch: "e1" });
    await until(() => first.received.length === 1);
    expect(first.received).toEqual(['{"type":"chat.resume","after":3,"epoch":"e1"}']);
    first.socket.close(1001);
    await until(() => statuses().at(-1) === "reconnecting");
    expect(source.send({ type: "chat.ping" })).toBe(true);
    await until(() => joins.length === 2);
    const second = await joined();
    second.socket.close(4404);
    await until(() => statuses().at(-1) === "closed");
    expect(second.received).toEqual([]);
  });
});

describe("pages", () => {
  it("are read over HTTP; permanent errors differ from temporary ones", async () => {
    start();
    await joined();
    await expect(source.fetchPage({ before: 9 }, 50)).resolves.toEqual([]);
    await expect(source.fetchLog(9, 50)).resolves.toEqual([]);
    rejection = { status: 404, body: "{}" };
    await expect(source.fetchLog(9, 50)).rejects.toThrow(PageUnavailableError);
    rejection = { status: 503, body: "{}" };
    await expect(source.fetchLog(9, 50)).rejects.not.toThrow(PageUnavailableError);
  });
});
