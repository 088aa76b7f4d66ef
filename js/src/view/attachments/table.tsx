/** A table of data, built of elements: whatever stands in a cell is text there. */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { asTable } from "../../protocol/guards";
import type { Cell, Table } from "../../protocol/frames";
import { locale, words } from "../../i18n/strings";

/** More than anybody reads in a chat; whoever made the table may have sent more. */
const ROWS = 100;
const COLUMNS = 30;
const DIGITS = 6;

interface Props {
  readonly json: string;
  readonly name: string;
  /** Its sender gave it that name. */
  readonly named: boolean;
}

export function TableOf({ json, name, named }: Props): JSX.Element {
  const table = useMemo(() => asTable(parse(json)), [json]);
  if (table === null) return <p class="bq-missing">{words.brokenTable}</p>;
  const columns = table.columns.slice(0, COLUMNS);
  const rows = table.rows.slice(0, ROWS);
  return (
    <figure class="bq-table">
      {/* Scrolled by keyboard too. */}
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
                    <td key={column} dir="auto" class={typeof cell === "number" ? "bq-number" : ""}>
                      {textOf(cell)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <figcaption>
        {named && <b dir="auto">{name}</b>} <span>{extentOf(table, rows.length, columns.length)}</span>
      </figcaption>
    </figure>
  );
}

function extentOf({ total_rows, total_columns }: Table, rows: number, columns: number): string {
  const number = new Intl.NumberFormat(locale);
  const say = (shown: number, total: number, what: (count: string, one: boolean) => string): string =>
    shown < total
      ? words.outOf(number.format(shown), what(number.format(total), total === 1))
      : what(number.format(total), total === 1);
  return `${say(rows, total_rows, words.rows)} · ${say(columns, total_columns, words.columns)}`;
}

/** Whether the first cell that says anything there is a number: its heading stands above the digits. */
function isNumeric(rows: Table["rows"], column: number): boolean {
  const cell = rows.map((row) => row[column]).find((each) => each !== null && each !== undefined);
  return typeof cell === "number";
}

/** As a notebook shows it: six digits of what is no whole number. */
function textOf(cell: Cell): string {
  if (cell === null) return "–";
  if (typeof cell !== "number" || Number.isInteger(cell)) return String(cell);
  return String(Number(cell.toPrecision(DIGITS)));
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
