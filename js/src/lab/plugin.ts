/** The plugin: a side panel with the rooms of this Jupyter server, rooms as tabs, commands, and a card in the launcher. */

import type { Rooms } from "../panel";
import type { Application, Classes, Services, Side, Widget } from "./jupyterlab";
import { provideNotebooks } from "../view/shared/notebooks";
import { jupyterOption } from "../transport/jupyter-option";
import { OpenNotebooks } from "./notebooks";
import { addShareCommand } from "./share-command";
import { createPanel, createTab, type LoadRooms, type RoomTab } from "./widgets";

export const PLUGIN_ID = "bqwidget:plugin";
const SHOW_ROOMS = "bqwidget:show-rooms";
const OPEN_ROOM = "bqwidget:open-room";
const DEFAULT_ROOM = "lobby";
const CATEGORY = "Chat Rooms";
/** Notebook 7 restores no layout: whether the panel was open is remembered here. */
const PANEL_OPEN_KEY = "bqwidget:panel-open";
/** The user names of readers who have not logged in by name. */
const ANONYMOUS_NAME = /^[0-9a-f]{32}$/;
const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" ' +
  'd="M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z"/></svg>';

export async function activate(app: Application, classes: Classes, services: Services): Promise<void> {
  const [labShell, restorer, registry, palette, launcher, notebooks] = services;
  const { shell, commands } = app;
  const icon = new classes.LabIcon({ name: "bqwidget:room", svgstr: ICON });
  const load = roomsLoader(app);
  const tracker = new classes.WidgetTracker<RoomTab>({ namespace: "bqwidget-room" });
  const settings = await registry?.load(PLUGIN_ID).catch(() => null);
  const openTab = (room: string): void => void commands.execute(OPEN_ROOM, { room });
  const wasOpen = labShell === null && sessionStorage.getItem(PANEL_OPEN_KEY) === "true";
  const saveOpen = (): void => sessionStorage.setItem(PANEL_OPEN_KEY, String(panel.isVisible));
  const panel = createPanel(classes.Widget, load, saveOpen, labShell === null ? undefined : openTab);
  panel.title.icon = icon;
  let side: Side | null = null;
  const placePanel = (): void => {
    const chosen = sideOf(settings?.composite.side, labShell !== null);
    if (chosen !== side) shell.add(panel, chosen, { rank: 600, type: CATEGORY });
    side = chosen;
  };
  placePanel();
  settings?.changed.connect(placePanel);

  commands.addCommand(SHOW_ROOMS, {
    label: "Chat Rooms",
    caption: "Show the rooms of this Jupyter server in the side panel, or hide them",
    icon,
    execute: () => {
      if (!panel.node.contains(document.activeElement)) return shell.activateById(panel.id);
      if (side === "left") shell.collapseLeft();
      else shell.collapseRight();
      shell.currentWidget?.activate();
    },
  });
  commands.addCommand(OPEN_ROOM, {
    label: ({ room = DEFAULT_ROOM }: { room?: string }) => `Chat Room: ${room}`,
    caption: "Open a room of this Jupyter server",
    icon,
    execute: async ({ room = DEFAULT_ROOM }: { room?: string }) => {
      if (labShell === null) {
        (await load()).showInPanel(room);
        return shell.activateById(panel.id);
      }
      const tab = tracker.find((each) => each.room === room) ?? addTab(room);
      shell.activateById(tab.id);
    },
  });

  if (notebooks !== null) {
    provideNotebooks(new OpenNotebooks(app, classes, notebooks, (room) => void commands.execute(OPEN_ROOM, { room })));
    const share = addShareCommand(app, classes, notebooks, load, (room) => commands.execute(OPEN_ROOM, { room }));
    palette?.addItem({ command: share, category: CATEGORY });
  }

  function addTab(room: string): RoomTab {
    const tab = createTab(classes.Widget, load, room);
    tab.title.icon = icon;
    const options = placeOf(tracker.find(() => true), shell.currentWidget);
    void tracker.add(tab);
    shell.add(tab, "main", options);
    return tab;
  }

  void restorer?.restore(tracker, { command: OPEN_ROOM, args: ({ room }) => ({ room }), name: ({ room }) => room });
  restorer?.add(panel, panel.id);
  palette?.addItem({ command: SHOW_ROOMS, category: CATEGORY });
  palette?.addItem({ command: OPEN_ROOM, category: CATEGORY });
  launcher?.add({ command: SHOW_ROOMS, category: "Other" });

  void app.restored.then(async () => {
    if (wasOpen) shell.activateById(panel.id);
    const rooms = await load();
    rooms.onUnread(({ total, byRoom }) => {
      panel.title.className = total > 0 ? "bq-unread-tab" : "";
      tracker.forEach((tab) => {
        const count = byRoom.get(tab.room) ?? 0;
        tab.title.label = count > 0 ? `${tab.room} (${count})` : tab.room;
      });
    });
  });
}

/** On the right in Notebook 7, which hides its left side when it takes the command palette out of it after a reload. */
function sideOf(setting: unknown, isLab: boolean): Side {
  if (setting === "left" || setting === "right") return setting;
  return isLab ? "left" : "right";
}

/** Next to the open rooms, or at the side of the document in front; in place of the launcher if that is open. */
function placeOf(room: Widget | undefined, current: Widget | null): Readonly<Record<string, string>> {
  if (room !== undefined) return { mode: "tab-after", ref: room.id };
  return current === null || current.id.startsWith("launcher") ? {} : { mode: "split-right", ref: current.id };
}

/** Loads the view's code once; after a failure, again. */
function roomsLoader(app: Application): LoadRooms {
  let loading: Promise<Rooms> | null = null;
  const load = async (): Promise<Rooms> => {
    const { serverSettings, user } = app.serviceManager;
    const base = `${new URL(serverSettings.baseUrl, location.href).href}bqserver/`;
    const [module] = await Promise.all([
      import(`${base}static/panel.js`) as Promise<typeof import("../panel")>,
      loadStyle(`${base}static/panel.css`),
      user.ready,
    ]);
    const name = user.identity?.username ?? "";
    const pages = jupyterOption("bqserverPages") || base;
    return new module.Rooms({ base, pages, principal: name === "" || ANONYMOUS_NAME.test(name) ? null : name });
  };
  return () => {
    loading ??= load().catch((error: unknown) => {
      loading = null;
      throw error;
    });
    return loading;
  };
}

function loadStyle(href: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
    link.onload = () => resolve();
    link.onerror = () => {
      link.remove();
      reject(new Error(`${href} could not be loaded`));
    };
    document.head.append(link);
  });
}
