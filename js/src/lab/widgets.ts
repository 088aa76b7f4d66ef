/** The side panel and the tabs as Lumino's widgets, filled when the view's code has arrived. */

import type { Rooms } from "../panel";
import type { Widget, WidgetClass } from "./jupyterlab";

export type LoadRooms = () => Promise<Rooms>;

export interface RoomTab extends Widget {
  readonly room: string;
}

const LOAD_FAILED = "The chat rooms could not be loaded: check the connection, and open this again.";

export function createPanel(Base: WidgetClass, load: LoadRooms, onVisible: () => void, onOpenTab?: (room: string) => void): Widget {
  class Panel extends Base {
    override onAfterShow(): void {
      void fill(this, load, (rooms) => {
        rooms.showPanel(this.node, onOpenTab);
        rooms.setPanelVisible(this.isVisible);
      });
      onVisible();
    }

    override onAfterHide(): void {
      void load().then((rooms) => rooms.setPanelVisible(false), ignore);
      onVisible();
    }

    override onActivateRequest(): void {
      void load().then((rooms) => rooms.focus(this.node), ignore);
    }
  }
  const panel = new Panel();
  panel.id = "bqwidget-rooms";
  panel.title.caption = "Chat rooms";
  return panel;
}

export function createTab(Base: WidgetClass, load: LoadRooms, room: string): RoomTab {
  class Tab extends Base {
    readonly room = room;
    #remove = (): void => undefined;

    constructor() {
      super();
      void fill(this, load, (rooms) => {
        this.#remove = rooms.showRoom(this.node, room);
      });
    }

    override onActivateRequest(): void {
      void load().then((rooms) => rooms.focus(this.node), ignore);
    }

    override onCloseRequest(): void {
      this.#remove();
      this.dispose();
    }
  }
  const tab = new Tab();
  tab.id = `bqwidget-room-${room}`;
  tab.title.label = room;
  tab.title.caption = `Chat room ${room}`;
  tab.title.closable = true;
  return tab;
}

async function fill(widget: Widget, load: LoadRooms, show: (rooms: Rooms) => void): Promise<void> {
  try {
    const rooms = await load();
    if (!widget.isDisposed) show(rooms);
  } catch {
    widget.node.textContent = LOAD_FAILED;
  }
}

const ignore = (): void => undefined;
