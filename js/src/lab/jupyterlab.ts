/** What is used of JupyterLab and Notebook 7, as types: their packages are taken from the page, not from npm. */

export interface Widget {
  id: string;
  readonly node: HTMLElement;
  readonly title: { label: string; caption: string; className: string; icon: unknown; closable: boolean };
  readonly isVisible: boolean;
  readonly isDisposed: boolean;
  dispose(): void;
  activate(): void;
}

/** With the methods that Lumino calls. */
interface LuminoWidget extends Widget {
  onAfterShow(): void;
  onAfterHide(): void;
  onActivateRequest(): void;
  onCloseRequest(): void;
}

export type WidgetClass = new () => LuminoWidget;

interface Listenable<T, S = unknown> {
  connect(listener: (sender: S, value: T) => void): void;
}

/** A cell of a notebook: what it shows, and what is saved of it. */
export interface Cell {
  readonly node: HTMLElement;
  readonly model: {
    readonly id: string;
    readonly sharedModel: { setSource(source: string): void };
    toJSON(): SavedCell;
  };
}

export interface SavedCell {
  readonly cell_type: string;
  readonly source: string | readonly string[];
  readonly outputs?: readonly Output[];
}

/** Texts may be lists of lines. */
interface Output {
  readonly output_type: string;
  readonly text?: unknown;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly traceback?: readonly string[];
}

export interface NotebookPanel {
  readonly id: string;
  readonly context: { readonly path: string; readonly ready: Promise<void> };
  readonly revealed: Promise<void>;
  readonly content: Notebook;
}

interface Notebook {
  readonly widgets: readonly Cell[];
  readonly activeCell: Cell | null;
  activeCellIndex: number;
  readonly model: { readonly cells: { readonly changed: Listenable<unknown> } } | null;
  readonly codeMimetype: string;
  deselectAll(): void;
  scrollToCell(cell: Cell): Promise<void>;
}

export interface NotebookTracker {
  readonly currentWidget: NotebookPanel | null;
  readonly activeCell: Cell | null;
  readonly widgetAdded: Listenable<NotebookPanel>;
  forEach(action: (panel: NotebookPanel) => void): void;
}

interface FileChange {
  readonly type: string;
  readonly oldValue: { readonly path?: string } | null;
  readonly newValue: { readonly path?: string } | null;
}

export type Side = "left" | "right";

export interface Shell {
  readonly currentWidget: Widget | null;
  add(widget: Widget, area: string, options?: Readonly<Record<string, unknown>>): void;
  activateById(id: string): void;
  collapseLeft(): void;
  collapseRight(): void;
}

export interface Application {
  readonly shell: Shell;
  readonly restored: Promise<unknown>;
  /** The node that was clicked to open the context menu, or the first one around it that `test` accepts. */
  contextMenuHitTest(test: (node: HTMLElement) => boolean): HTMLElement | undefined;
  readonly commands: {
    addCommand(id: string, options: Readonly<Record<string, unknown>>): void;
    execute(id: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  };
  readonly serviceManager: {
    readonly contents: {
      readonly fileChanged: Listenable<FileChange>;
      get(path: string): Promise<{ readonly content: unknown }>;
    };
    readonly serverSettings: { readonly baseUrl: string };
    readonly user: { readonly ready: Promise<void>; readonly identity: { readonly username: string } | null };
  };
}

export interface Tracker<W> {
  add(widget: W): Promise<void>;
  find(test: (widget: W) => boolean): W | undefined;
  forEach(action: (widget: W) => void): void;
}

export interface Restorer {
  add(widget: Widget, name: string): void;
  restore<W>(tracker: Tracker<W>, options: RestoreOptions<W>): Promise<unknown>;
}

interface RestoreOptions<W> {
  readonly command: string;
  readonly args: (widget: W) => Readonly<Record<string, string>>;
  readonly name: (widget: W) => string;
}

export interface Settings {
  readonly composite: Readonly<Record<string, unknown>>;
  readonly changed: Listenable<unknown>;
}

export interface SettingRegistry {
  load(plugin: string): Promise<Settings>;
}

/** Of the command palette and of the launcher. */
export interface Palette {
  addItem(item: Readonly<Record<string, unknown>>): void;
}

export interface Launcher {
  add(item: Readonly<Record<string, unknown>>): void;
}

/** What the plugin asks for, in this order; null where the page has none. */
export type Services = readonly [
  labShell: Shell | null,
  restorer: Restorer | null,
  settings: SettingRegistry | null,
  palette: Palette | null,
  launcher: Launcher | null,
  notebooks: NotebookTracker | null,
];

/** Classes of the page's packages. */
export interface Classes {
  readonly Widget: WidgetClass;
  readonly WidgetTracker: new <W>(options: { namespace: string }) => Tracker<W>;
  readonly NotebookActions: { insertBelow(notebook: unknown): void };
  readonly InputDialog: {
    getItem(options: Readonly<Record<string, unknown>>): Promise<{ readonly value: string | null }>;
    getText(options: Readonly<Record<string, unknown>>): Promise<{ readonly value: string | null }>;
  };
  readonly showErrorMessage: (title: string, error: unknown) => Promise<void>;
  readonly LabIcon: new (options: { name: string; svgstr: string }) => unknown;
}

/** The packages that a page shares with its extensions, by name and version. */
export type SharedScope = Readonly<Record<string, Readonly<Record<string, { get(): Promise<() => unknown> }>>>>;

type Exports = Readonly<Record<string, unknown>>;

/** The exports of all packages in `names`, together. */
export async function take(shared: SharedScope, names: readonly string[]): Promise<Exports> {
  const packages = names.map(async (name) => {
    const [version] = Object.values(shared[name] ?? {});
    if (version === undefined) throw new Error(`bqwidget: this page has no ${name}`);
    return (await version.get())() as Exports;
  });
  return Object.assign({}, ...(await Promise.all(packages))) as Exports;
}
