/** The attachments of a message: images, tables, and the names of all other files. */

import type { JSX } from "preact";
import { formatBytes } from "../../i18n/format";
import { IMAGE_TYPES, TABLE_TYPE, type Attachment } from "../../protocol/attachments";
import { FileIcon } from "../shared/icons";
import { ImageAttachment } from "./image";
import { TableAttachment } from "./table";

export function Attachments({ attachments }: { readonly attachments: readonly Attachment[] }): JSX.Element {
  const files = attachments.filter(({ mime }) => mime !== TABLE_TYPE && !IMAGE_TYPES.includes(mime));
  return (
    <>
      {attachments.map((attachment, index) => {
        const key = `${index} ${attachment.sha256}`; // a message may contain an image twice
        if (IMAGE_TYPES.includes(attachment.mime)) return <ImageAttachment key={key} attachment={attachment} />;
        return attachment.mime === TABLE_TYPE ? <TableAttachment key={key} attachment={attachment} /> : null;
      })}
      {files.length > 0 && (
        <ul class="bq-files">
          {files.map(({ sha256, name, mime, size }) => (
            <li key={sha256}>
              <FileIcon />
              <span dir="auto">{name ?? mime}</span>
              <small>{formatBytes(size)}</small>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
