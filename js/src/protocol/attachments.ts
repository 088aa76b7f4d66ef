/** What a message can carry besides text: images, and tables of data. */

import { array, boolean, nullable, nullish, number, object, string, uint, type Infer } from "./schema";

export const attachmentSchema = object({
  mime: string,
  sha256: string,
  size: number,
  name: nullish(string),
  /** Of an image, in pixels. */
  width: nullish(uint),
  height: nullish(uint),
});
export type Attachment = Infer<typeof attachmentSchema>;

/** Shown with `<img>` only. */
export const IMAGE_TYPES: readonly string[] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"];
export const TABLE_TYPE = "application/vnd.bqwidget.table+json";

export type TableCell = string | number | boolean | null;
const cellSchema = (value: unknown): value is TableCell => nullable(string)(value) || number(value) || boolean(value);

/** The content of an attachment of TABLE_TYPE: the first rows and columns, and the total number of each. */
export const tableSchema = object({
  columns: array(string),
  rows: array(array(cellSchema)),
  total_rows: uint,
  total_columns: uint,
});
export type Table = Infer<typeof tableSchema>;
