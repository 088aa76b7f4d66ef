/** What is sent of a notebook's cell: its source and its output, as text, pictures and tables. */

import type { CellAnchor } from "../protocol/entries";
import type { Cell, NotebookPanel } from "./jupyterlab";

const MAX_SOURCE_CHARACTERS = 16_000;
const MAX_OUTPUT_CHARACTERS = 4_000;
const MAX_ATTACHMENTS = 8;
const MAX_ROWS = 50;
const MAX_COLUMNS = 20;
const MAX_VALUE_CHARACTERS = 200;
const TABLE_TYPE = "application/vnd.bqwidget.table+json";
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/svg+xml"];
// eslint-disable-next-line no-control-regex -- the colours of a terminal
const TERMINAL_CODE = /\x1b\[[0-?]*[ -/]*[@-~]/g;

export interface SharedCell {
  readonly text: string;
  readonly attachments: readonly Blob[];
  readonly cell: CellAnchor;
}

export function sharedCell({ context, content }: NotebookPanel, cell: Cell): SharedCell {
  const { cell_type, source, outputs = [] } = cell.model.toJSON();
  const tables = [...cell.node.querySelectorAll<HTMLTableElement>(".jp-OutputArea-output table")].map(tableOf);
  const attachments: Blob[] = [];
  let printed = "";
  for (const { output_type, text, data = {}, traceback } of outputs) {
    const picture = PICTURES.find((mime) => data[mime] !== undefined);
    if (output_type === "stream") printed += joined(text);
    else if (traceback !== undefined) printed += traceback.join("\n");
    else if (picture !== undefined) attachments.push(pictureOf(picture, joined(data[picture])));
    else if (tables.length === 0 || !joined(data["text/html"]).includes("<table")) printed += `${joined(data["text/plain"])}\n`;
  }
  const isText = cell_type === "markdown" || cell_type === "raw";
  const language = /x-(?:i?python)/.test(content.codeMimetype) ? "python" : "";
  const blocks = [
    isText ? joined(source).slice(0, MAX_SOURCE_CHARACTERS) : codeBlock(joined(source), MAX_SOURCE_CHARACTERS, language),
    codeBlock(printed.replace(TERMINAL_CODE, "").trimEnd(), MAX_OUTPUT_CHARACTERS),
  ];
  return {
    text: blocks.filter((block) => block !== "").join("\n\n"),
    attachments: [...attachments, ...tables].slice(0, MAX_ATTACHMENTS),
    cell: { path: context.path, id: cell.model.id },
  };
}

const joined = (text: unknown): string => (Array.isArray(text) ? text.join("") : typeof text === "string" ? text : "");

/** With a fence that is longer than those in `text`. */
function codeBlock(text: string, limit: number, language = ""): string {
  if (text.trim() === "") return "";
  const fence = "`".repeat(Math.max(2, ...[...text.matchAll(/`{3,}/g)].map(([found]) => found.length)) + 1);
  const shown = text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  return `${fence}${language}\n${shown.replace(/^\n+|\n+$/g, "")}\n${fence}`;
}

function pictureOf(mime: string, data: string): Blob {
  if (mime === "image/svg+xml") return new Blob([data], { type: mime });
  return new Blob([Uint8Array.from(atob(data.replace(/\s/g, "")), (character) => character.charCodeAt(0))], { type: mime });
}

/** A table as it is shown, such as that of a DataFrame. */
function tableOf(table: HTMLTableElement): Blob {
  const valuesOf = (row: HTMLTableRowElement | null | undefined): string[] =>
    [...(row?.cells ?? [])].map(({ textContent }) => textContent.trim().slice(0, MAX_VALUE_CHARACTERS));
  const all = [...table.rows];
  const head = table.tHead?.rows[0] ?? all[0];
  const body = all.filter((row) => row !== head);
  const columns = valuesOf(head);
  const width = Math.min(Math.max(columns.length, ...body.map(({ cells }) => cells.length)), MAX_COLUMNS);
  const filled = (values: readonly string[]): string[] => Array.from({ length: width }, (_, index) => values[index] ?? "");
  const rows = body.slice(0, MAX_ROWS).map((row) => filled(valuesOf(row)));
  const shown = { columns: filled(columns), rows, total_rows: body.length, total_columns: Math.max(width, columns.length) };
  return new Blob([JSON.stringify(shown)], { type: TABLE_TYPE });
}
