/** The rooms that are open on a page: one connection for all windows of a room, closed with the last of them. */

import { effect } from "@preact/signals";
import type { Room } from "./room";
import type { RoomList } from "./room-list";

interface Open {
  readonly room: Room;
  readonly stopReading: () => void;
  windows: number;
}

export class Connections {
  readonly #open = new Map<string, Open>();
  readonly #create: (name: string) => Room;
  readonly #list: RoomList;

  constructor(list: RoomList, create: (name: string) => Room) {
    this.#list = list;
    this.#create = create;
  }

  acquire(name: string): Room {
    const open = this.#open.get(name) ?? this.#start(name);
    open.windows += 1;
    return open.room;
  }

  release(name: string): void {
    const open = this.#open.get(name);
    if (open === undefined || --open.windows > 0) return;
    this.#open.delete(name);
    open.stopReading();
    open.room.stop();
  }

  #start(name: string): Open {
    const room = this.#create(name);
    room.start();
    const stopReading = effect(() => {
      const { loaded, latestVisible, unread, lastSeq } = room.state.value;
      if (loaded && latestVisible && unread.count === 0) this.#list.markRead(name, lastSeq);
    });
    const open = { room, stopReading, windows: 0 };
    this.#open.set(name, open);
    return open;
  }
}
