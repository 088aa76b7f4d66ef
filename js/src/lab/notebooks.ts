/** The open notebooks: shows cells that messages are about, marks them, and inserts code below the active cell. */

import type { CellAnchor, Message } from "../protocol/entries";
import type { Notebooks } from "../view/shared/notebooks";
import type { Application, Cell, Classes, NotebookPanel, NotebookTracker } from "./jupyterlab";

/** Paths of this Jupyter's files by what they were before they were moved here. */
const MOVED_KEY = "bqwidget:moved";
const MAX_MOVED = 200;
/** What messages are about which cells, also while no window shows them. */
const TALKS_KEY = "bqwidget:cell-talks";
const MAX_TALKS = 500;
const MARK = "bq-cell-mark";

interface Talk {
  readonly room: string;
  readonly cell: string;
}

export class OpenNotebooks implements Notebooks {
  readonly #app: Application;
  readonly #actions: Classes["NotebookActions"];
  readonly #tracker: NotebookTracker;
  readonly #openRoom: (room: string) => void;
  /** The cells that messages are about, by room and seq. */
  readonly #talks = new Map(load<[string, Talk]>(TALKS_KEY));
  #drawing = false;

  constructor(app: Application, { NotebookActions }: Classes, tracker: NotebookTracker, openRoom: (room: string) => void) {
    this.#app = app;
    this.#actions = NotebookActions;
    this.#tracker = tracker;
    this.#openRoom = openRoom;
    app.serviceManager.contents.fileChanged.connect((_, { type, oldValue, newValue }) => {
      if (type === "rename" && oldValue?.path && newValue?.path) saveMoved(oldValue.path, newValue.path);
    });
    tracker.widgetAdded.connect((_, panel) => {
      void panel.revealed.then(() => {
        panel.content.model?.cells.changed.connect(() => this.#draw());
        this.#draw();
      });
    });
  }

  async show({ path, id }: CellAnchor): Promise<boolean> {
    const moved = movedTo(path);
    const panels = this.#panels().filter((panel) => cellOf(panel, id) !== undefined);
    // A copy of a notebook has the same cells.
    const panel = panels.find(({ context }) => context.path === moved) ?? panels[0] ?? (await this.#open(moved, id));
    const cell = panel && cellOf(panel, id);
    if (!panel || !cell) return false;
    this.#app.shell.activateById(panel.id);
    panel.content.deselectAll();
    panel.content.activeCellIndex = panel.content.widgets.indexOf(cell);
    await panel.content.scrollToCell(cell);
    return true;
  }

  insertBelow(source: string): boolean {
    const notebook = this.#tracker.currentWidget?.content;
    if (notebook === undefined) return false;
    this.#actions.insertBelow(notebook);
    notebook.activeCell?.model.sharedModel.setSource(source);
    if (notebook.activeCell !== null) void notebook.scrollToCell(notebook.activeCell);
    return true;
  }

  mark(room: string, messages: readonly Message[]): void {
    const before = this.#talks.size;
    for (const { seq, cell, deleted } of messages) {
      if (deleted) this.#talks.delete(`${room} ${seq}`);
      else if (cell !== undefined) this.#talks.set(`${room} ${seq}`, { room, cell: cell.id });
    }
    if (this.#talks.size === before) return;
    save(TALKS_KEY, [...this.#talks].slice(-MAX_TALKS));
    this.#draw();
  }

  /** The notebook at `path`, if it has the cell: another file may have its path by now. */
  async #open(path: string, id: string): Promise<NotebookPanel | undefined> {
    const { commands, serviceManager, shell } = this.#app;
    const file = path === "" ? null : await serviceManager.contents.get(path).catch(() => null);
    const cells = (file?.content as { cells?: readonly { id?: string }[] } | null | undefined)?.cells ?? [];
    if (!cells.some((cell) => cell.id === id)) return undefined;
    // Next to the room, if only that is open.
    const options = this.#tracker.currentWidget === null && shell.currentWidget !== null ? { mode: "split-left" } : {};
    const panel = (await commands.execute("docmanager:open", { path, factory: "Notebook", options })) as NotebookPanel | undefined;
    await panel?.context.ready;
    await panel?.revealed;
    return panel;
  }

  #panels(): NotebookPanel[] {
    const panels: NotebookPanel[] = [];
    this.#tracker.forEach((panel) => panels.push(panel));
    return panels;
  }

  /** Draws the marks soon: when the notebook has made its cells. */
  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => {
      this.#drawing = false;
      const talksOf = new Map<string, Talk[]>();
      for (const talk of this.#talks.values()) talksOf.set(talk.cell, [...(talksOf.get(talk.cell) ?? []), talk]);
      for (const panel of this.#panels()) {
        for (const cell of panel.content.widgets) this.#drawMark(cell, talksOf.get(cell.model.id) ?? []);
      }
    });
  }

  #drawMark({ node }: Cell, talks: readonly Talk[]): void {
    const last = talks.at(-1);
    const shown = node.querySelector<HTMLButtonElement>(`:scope > .${MARK}`);
    if (last === undefined) return shown?.remove();
    const rooms = [...new Set(talks.map(({ room }) => room))].join(", ");
    const label = `${talks.length} message${talks.length === 1 ? "" : "s"} about this cell in ${rooms}`;
    const mark = shown ?? node.appendChild(Object.assign(document.createElement("button"), { type: "button", className: MARK }));
    mark.textContent = `💬 ${talks.length}`;
    mark.title = label;
    mark.setAttribute("aria-label", label);
    mark.onclick = () => this.#openRoom(last.room);
  }
}

const cellOf = ({ content }: NotebookPanel, id: string): Cell | undefined => content.widgets.find(({ model }) => model.id === id);

const load = <T>(key: string): T[] => JSON.parse(localStorage.getItem(key) ?? "[]") as T[];

const save = (key: string, list: readonly unknown[]): void => localStorage.setItem(key, JSON.stringify(list));

/** Also for what is in a folder that was moved. */
function saveMoved(from: string, to: string): void {
  save(MOVED_KEY, [...load(MOVED_KEY), [from, to]].slice(-MAX_MOVED));
}

const movedTo = (path: string): string =>
  load<[string, string]>(MOVED_KEY).reduce((at, [from, to]) => (at === from || at.startsWith(`${from}/`) ? to + at.slice(from.length) : at), path);
