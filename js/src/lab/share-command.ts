/** The command that sends the active cell to a room: in the cell's menu, and in the command palette. */

import type { Application, Cell, Classes, NotebookPanel, NotebookTracker } from "./jupyterlab";
import { sharedCell } from "./shared-cell";
import type { LoadRooms } from "./widgets";

const SHARE_CELL = "bqwidget:share-cell";

/** `open` shows the room afterwards. Returns the command's id. */
export function addShareCommand(
  app: Application,
  { InputDialog, showErrorMessage }: Classes,
  notebooks: NotebookTracker,
  load: LoadRooms,
  open: (room: string) => Promise<unknown>,
): string {
  let lastRoom = "lobby";

  /** The cell whose menu is open, which need not be the active one. */
  function chosenCell(fromMenu: boolean): readonly [NotebookPanel, Cell] | undefined {
    const { currentWidget: panel, activeCell } = notebooks;
    if (panel === null || activeCell === null) return undefined;
    const node = fromMenu ? app.contextMenuHitTest(({ classList }) => classList.contains("jp-Cell")) : undefined;
    return [panel, panel.content.widgets.find((cell) => cell.node === node) ?? activeCell];
  }

  async function share(fromMenu: boolean): Promise<void> {
    const chosen = chosenCell(fromMenu);
    if (chosen === undefined) return;
    const rooms = await load();
    const options = { okLabel: "Share", title: "Share this cell and its output" };
    if (rooms.user === "") {
      const { value } = await InputDialog.getText({ ...options, okLabel: "Continue", label: "Your name, as others see it" });
      if (value === null || value.trim() === "") return;
      rooms.setUser(value.trim());
    }
    const items = [...new Set([lastRoom, ...rooms.names])];
    const { value: room } = await InputDialog.getItem({ ...options, label: "Room", items, editable: true });
    if (room === null) return;
    lastRoom = room;
    await rooms.shareCell(room, sharedCell(...chosen));
    await open(room);
  }

  app.commands.addCommand(SHARE_CELL, {
    label: "Share Cell",
    caption: "Send this cell and its output to a chat room",
    isEnabled: () => notebooks.activeCell !== null,
    execute: ({ menu = false }: { menu?: boolean }) => share(menu).catch((error: unknown) => showErrorMessage("The cell was not shared", error)),
  });
  return SHARE_CELL;
}
