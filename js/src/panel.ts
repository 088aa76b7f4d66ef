/** The entry point of the rooms in JupyterLab and Notebook 7: the side panel and the windows, which `lab.ts` puts in place. */

import { effect, signal } from "@preact/signals";
import { h, render, type ComponentChild } from "preact";
import { setLanguage } from "./i18n/strings";
import { initialState, isOwn } from "./model/state";
import { newCid } from "./protocol/ids";
import { Connections } from "./room/connections";
import { Room } from "./room/room";
import { RoomList } from "./room/room-list";
import { uploadAttachment } from "./transport/http/attachments";
import { HttpClient, postJson } from "./transport/http/client";
import { fetchAfter, fetchRooms } from "./transport/http/rooms";
import { SocketSource } from "./transport/socket-source";
import type { SharedCell } from "./lab/shared-cell";
import { Panel } from "./view/rooms/panel";
import { RoomWindow } from "./view/rooms/room-window";
import { mentions } from "./view/shared/mentions";
import { openNotebooks } from "./view/shared/notebooks";
import { loadClientId, loadName, loadPanelRoom, loadReadSeqs, saveName, savePanelRoom, saveReadSeqs } from "./view/shared/storage";
import { addProgramLoader } from "./worker/worker-client";

export interface RoomsOptions {
  /** The server's base URL, ending in a slash. */
  readonly base: string;
  /** The base URL of the rooms' pages, where people elsewhere than in this Jupyter open them. */
  readonly pages: string;
  /** The verified name of the reader, or null. */
  readonly principal: string | null;
}

/** What is unread in all rooms together, and in each. */
export interface UnreadCounts {
  readonly total: number;
  readonly byRoom: ReadonlyMap<string, number>;
}

/** The rooms of one server on this page. */
export class Rooms {
  readonly #list: RoomList;
  readonly #connections: Connections;
  readonly #shown = signal(loadPanelRoom());
  readonly #options: RoomsOptions;

  constructor(options: RoomsOptions) {
    const { base, pages, principal } = options;
    this.#options = options;
    setLanguage(navigator.languages, document.documentElement.lang); // JupyterLab's language is in `lang`
    const member = loadClientId();
    const stateOf = (name: string) => ({ ...initialState(name, loadName(""), [member]), principal });
    this.#list = new RoomList({
      fetchRooms: () => fetchRooms(base),
      fetchAfter: async (room, ...request) => {
        const messages = await fetchAfter(base, room, ...request);
        openNotebooks()?.mark(room, messages);
        return messages;
      },
      loadReadSeqs: () => loadReadSeqs(base),
      saveReadSeqs: (seqs) => saveReadSeqs(base, seqs),
      isOwn: (message) => isOwn(stateOf(""), message),
      mentionsReader: ({ text }) => mentions(text, principal ?? loadName("")),
    });
    this.#connections = new Connections(
      this.#list,
      (name) => new Room(new SocketSource({ base, pages, room: name, member }), stateOf(name)),
    );
    this.#list.start();
    addProgramLoader(async (program) => {
      const response = await fetch(new URL(`${program}.js`, import.meta.url));
      if (!response.ok) throw new Error(`${program}.js: ${response.status}`);
      return response.text();
    });
  }

  /** Shows the panel in `element`. `onOpenTab` opens a room as a tab; without it, rooms open in the panel. */
  showPanel(element: HTMLElement, onOpenTab?: (room: string) => void): void {
    const props = { rooms: this.#list, connections: this.#connections, shown: this.#shown, onOpenTab };
    const onShow = (room: string): void => {
      this.showInPanel(room);
      requestAnimationFrame(() => this.focus(element));
    };
    show(element, h(Panel, { ...props, onShow }));
  }

  /** Shows a room in the panel; "" shows the list. */
  showInPanel(room: string): void {
    savePanelRoom(room);
    this.#shown.value = room;
  }

  /** Shows the window of a room in `element`; the function that is returned removes it. */
  showRoom(element: HTMLElement, name: string): () => void {
    show(element, h(RoomWindow, { name, connections: this.#connections }));
    return () => render(null, element);
  }

  /** The reader's name; "" if it is not known. */
  get user(): string {
    return this.#options.principal ?? loadName("");
  }

  /** Gives the reader a name, where the server does not. */
  setUser(user: string): void {
    saveName("", user);
  }

  get names(): readonly string[] {
    return this.#list.state.value.rows.map(({ name }) => name);
  }

  /** Sends a cell to a room. Rejects with an Error. */
  async shareCell(room: string, { text, attachments, cell }: SharedCell): Promise<void> {
    const { roomUrl } = new HttpClient(this.#options.base, room);
    const { signal } = new AbortController();
    const upload = (file: Blob) => uploadAttachment(roomUrl, file, file.type, () => undefined, signal);
    const parts = await Promise.all(attachments.map(upload));
    await postJson(`${roomUrl}/messages`, { cid: newCid(loadClientId()), user: this.user, text, parts, cell });
  }

  /** Focuses what is typed into: a room's message, or the box above the list. */
  focus(element: HTMLElement): void {
    element.querySelector<HTMLElement>("textarea, .bq-find-box")?.focus();
  }

  /** Whether the panel is in view: its list is then up to date within seconds. */
  setPanelVisible(visible: boolean): void {
    this.#list.setVisible(visible);
  }

  onUnread(listener: (counts: UnreadCounts) => void): void {
    effect(() => {
      const { rows } = this.#list.state.value;
      const byRoom = new Map(rows.map(({ name, unread }) => [name, unread]));
      listener({ total: [...byRoom.values()].reduce((sum, count) => sum + count, 0), byRoom });
    });
  }
}

function show(element: HTMLElement, content: ComponentChild): void {
  element.classList.add("bq-docked");
  render(content, element);
}
