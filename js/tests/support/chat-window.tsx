/** A window with a fake source, used as a person uses it: by its accessible names, in happy-dom. */

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach } from "vitest";
import { initialState, type CommStatus, type PagePosition } from "../../src/model/state";
import type { Attachment } from "../../src/protocol/attachments";
import type { ClientFrame, Draft } from "../../src/protocol/client-frames";
import type { Message } from "../../src/protocol/entries";
import type { Moderation, Order } from "../../src/protocol/moderation";
import { RequestError } from "../../src/protocol/errors";
import type { ServerFrame } from "../../src/protocol/server-frames";
import { Room } from "../../src/room/room";
import type { Invite } from "../../src/protocol/rooms";
import type { Source, SourceEvents } from "../../src/transport/source";
import { Chat } from "../../src/view/chat";
import { FakeLog } from "./fake-log";

/** A source that a test controls; it records the frames that the window sends. */
class FakeSource implements Source {
  readonly sent: ClientFrame[] = [];
  /** The content of attachments, by hash. */
  readonly attachments = new Map<string, Blob>();
  events!: SourceEvents;

  constructor(readonly log: FakeLog) {}

  start(events: SourceEvents): void {
    this.events = events;
  }

  send(frame: ClientFrame): boolean {
    this.sent.push(frame);
    return true;
  }

  resume(): void {
    const { after, epoch } = this.events.cursor();
    this.events.dispatch(this.log.replay(after, epoch));
  }

  fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    return Promise.resolve(this.log.page(position, limit));
  }

  search(words: string, limit: number): Promise<Message[]> {
    const found = this.log.folded().filter(({ text }) => words.split(/\s+/).every((word) => text.includes(word)));
    return Promise.resolve(found.slice(-limit));
  }

  fetchLink(invite: Invite | null): Promise<string> {
    return Promise.resolve(`http://chat.test/rooms/lobby${invite === null ? "" : `#invite=${invite.uses}-${invite.minutes}`}`);
  }

  moderation: Moderation = { closed: false, mutes: [] };
  readonly orders: Order[] = [];

  moderate(order: Order | null): Promise<Moderation> {
    if (order !== null) this.orders.push(order);
    return Promise.resolve(this.moderation);
  }

  fetchLog(): Promise<never> {
    return Promise.reject(new Error("not in this test"));
  }

  fetchAttachment({ sha256 }: Attachment): Promise<Blob> {
    const blob = this.attachments.get(sha256);
    return blob ? Promise.resolve(blob) : Promise.reject(new RequestError({ code: "no_part", message: "not found" }));
  }

  uploadAttachment(file: Blob, mime: string): Promise<Attachment> {
    const sha256 = String(this.attachments.size).padStart(64, "0");
    this.attachments.set(sha256, file);
    return Promise.resolve({ mime, sha256, size: file.size });
  }

  stop(): void {
    this.sent.length = 0;
  }

  drafts(): Draft[] {
    return this.sent.filter((frame): frame is Draft => "cid" in frame);
  }
}

export let source: FakeSource;
export let root: HTMLElement;
/** The keys that reached the notebook around the window. */
export let leakedKeys: string[];
let room: Room;
let listening: AbortController;

/** Also with fake timers. */
const { setTimeout: setRealTimeout } = globalThis;
export const nextFrame = (): Promise<void> => new Promise((resolve) => requestAnimationFrame(() => setRealTimeout(resolve)));
export const receive = (...frames: ServerFrame[]): Promise<void> =>
  act(async () => {
    source.events.dispatch(frames);
    await nextFrame();
    await nextFrame();
  });
export const setCommStatus = (status: CommStatus): Promise<void> =>
  act(async () => {
    source.events.dispatch([{ type: "comm", status }]);
    await nextFrame();
  });
export const receiveMessage = (user: string, text: string, extra: Partial<Message> = {}): Promise<void> =>
  receive(source.log.frame(source.log.append(user, text, 1, extra)));
export const statusFrame = (status: "open" | "closed", message?: string): ServerFrame => ({
  type: "status",
  status,
  error: message === undefined ? null : { code: "x", message },
  retry_at: null,
  queued: 0,
});

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as querySelector has it
export function find<T extends HTMLElement>(selector: string): T {
  const found = root.querySelector<T>(selector);
  if (found === null) throw new Error(`no ${selector} in ${root.textContent}`);
  return found;
}
export const box = (): HTMLTextAreaElement => find("textarea[aria-label=Message]");
export const rows = (): HTMLElement[] => [...root.querySelectorAll<HTMLElement>("ol[aria-label=Messages] > li")];
export const button = (name: string): HTMLButtonElement => {
  const found = [...root.querySelectorAll("button")].find(
    (each) => (each.getAttribute("aria-label") ?? each.textContent.trim()) === name,
  );
  if (found === undefined) throw new Error(`no button ${name}`);
  return found;
};
export const statusText = (): string => find("[role=status]").textContent;

export function type(text: string, into: HTMLTextAreaElement | HTMLInputElement = box()): Promise<void> {
  return act(async () => {
    into.value = text;
    into.dispatchEvent(new Event("input", { bubbles: true }));
    await nextFrame();
  });
}
export function press(key: string, init: KeyboardEventInit = {}, on: HTMLElement = box()): Promise<void> {
  return act(async () => {
    on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init }));
    await nextFrame();
  });
}
export const click = (name: string): Promise<void> =>
  act(async () => {
    button(name).click();
    await nextFrame();
  });

export async function open(user = "me", heading: "h1" | "h2" = "h2", log = new FakeLog()): Promise<void> {
  source = new FakeSource(log);
  room = new Room(source, initialState("lobby", user, [user]));
  root = document.body.appendChild(document.createElement("div"));
  await act(() => render(<Chat room={room} defaultName={user} heading={heading} />, root));
  room.start();
  await receive(statusFrame("open"), source.log.hello(false));
}

/** A second view of the same room, which the test removes. */
export async function addView(): Promise<HTMLElement> {
  const view = document.body.appendChild(document.createElement("div"));
  await act(() => render(<Chat room={room} defaultName="me" />, view));
  return view;
}

export function close(): void {
  render(null, root);
  room.stop();
  root.remove();
}

/** Opens a window before each test of the file, and closes it after. */
export function useChatWindow(): void {
  beforeEach(async () => {
    localStorage.clear();
    sessionStorage.clear();
    leakedKeys = [];
    listening = new AbortController();
    document.body.addEventListener("keydown", ({ key }) => leakedKeys.push(key), { signal: listening.signal });
    await open();
  });

  afterEach(() => {
    close();
    listening.abort();
  });
}
