/** The notebooks that are open around a window, where the plugin for JupyterLab and Notebook 7 runs (`lab/`). */

import type { CellAnchor, Message } from "../../protocol/entries";

export interface Notebooks {
  /** Scrolls to the cell, and opens its notebook if needed. Resolves to false if this Jupyter does not have it. */
  show(cell: CellAnchor): Promise<boolean>;
  /** Adds a code cell below the active one. False if no notebook is open. */
  insertBelow(source: string): boolean;
  /** Marks the cells that `messages` of `room` are about; a deleted message does not count any more. */
  mark(room: string, messages: readonly Message[]): void;
}

/** All copies of the view on a page share it. */
const KEY = Symbol.for("bqwidget.notebooks");

export const openNotebooks = (): Notebooks | null => (Reflect.get(globalThis, KEY) as Notebooks | undefined) ?? null;

export const provideNotebooks = (notebooks: Notebooks): void => void Reflect.set(globalThis, KEY, notebooks);
