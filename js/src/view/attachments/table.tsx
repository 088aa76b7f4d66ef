/** An attached table, built from elements: the content of every cell is text. */

import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { locale, strings } from "../../i18n/strings";
import type { Attachment, Table, TableCell } from "../../protocol/attachments";
import { asTable } from "../../protocol/guards";
import { parseJson } from "../../protocol/schema";
import type { AttachmentHandle } from "../../room/attachment-cache";
import { AttachmentFailure } from "./attachment-failure";
import { attachmentName } from "./names";
import { useAttachment } from "./use-attachment";

/** The sender may have sent more. */
const MAX_ROWS = 100;
const MAX_COLUMNS = 30;
/** As pandas shows them; smaller numbers are exact. */
const DECIMALS = 6;
const LEAST_ROUNDED = 0.001;

const readText = ({ blob }: AttachmentHandle): Promise<string> => blob.then((content) => content.text());

export function TableAttachment({ attachment }: { readonly attachment: Attachment }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const { value, error, retry } = useAttachment(frame, attachment, readText);
  const name = attachmentName(attachment);
  return (
    <div class="bq-tablepart" ref={frame}>
      {value !== null && <DataTable json={value} name={name} named={attachment.name !== undefined} />}
      {value === null && error === null && <p class="bq-loading">{strings.loadingAttachment(name)}</p>}
      {error !== null && <AttachmentFailure name={name} reason={error} onRetry={retry} />}
    </div>
  );
}

interface Props {
  readonly json: string;
  readonly name: string;
  /** The sender gave it that name. */
  readonly named: boolean;
}

function DataTable({ json, name, named }: Props): JSX.Element {
  const table = useMemo(() => asTable(parseJson(json)), [json]);
  if (table === null) return <p class="bq-missing">{strings.tableInvalid}</p>;
  const columns = table.columns.slice(0, MAX_COLUMNS);
  const rows = table.rows.slice(0, MAX_ROWS);
  return (
    <figure class="bq-table">
      {/* Focusable, so that the keyboard can scroll it. */}
      <div class="bq-table-scroll" tabIndex={0} role="group" aria-label={name}>
        <table>
          <thead>
            <tr>
              {columns.map((column, index) => (
                <th key={index} scope="col" dir="auto" class={isNumeric(rows, index) ? "bq-number" : ""}>
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={index}>
                {columns.map((_, column) => {
                  const cell = row[column] ?? null;
                  return (
                    <td key={column} dir="auto" title={typeof cell === "number" ? String(cell) : undefined} class={typeof cell === "number" ? "bq-number" : ""}>
                      {cellText(cell)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <figcaption>
        {named && <b dir="auto">{name}</b>} <span>{sizeText(table, rows.length, columns.length)}</span>
      </figcaption>
    </figure>
  );
}

function sizeText({ total_rows, total_columns }: Table, rows: number, columns: number): string {
  const number = new Intl.NumberFormat(locale);
  const count = (shown: number, total: number, unit: (count: string, one: boolean) => string): string => {
    const all = unit(number.format(total), total === 1);
    return shown < total ? strings.shownOfTotal(number.format(shown), all) : all;
  };
  return `${count(rows, total_rows, strings.rows)} · ${count(columns, total_columns, strings.columns)}`;
}

/** Whether the first non-empty cell is a number: the heading is then aligned like the numbers. */
function isNumeric(rows: Table["rows"], column: number): boolean {
  const cell = rows.map((row) => row[column]).find((value) => value !== null && value !== undefined);
  return typeof cell === "number";
}

/** Numbers have six decimals at most, as in a notebook. */
export function cellText(cell: TableCell): string {
  if (cell === null) return "–";
  const exact = Object.is(cell, -0) ? "-0" : String(cell);
  if (typeof cell !== "number" || Math.abs(cell) < LEAST_ROUNDED || !/\.\d{7,}$/.test(exact)) return exact;
  return cell.toFixed(DECIMALS).replace(/\.?0+$/, "");
}
