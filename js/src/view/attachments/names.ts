/** What to call an attachment, and a message, where there is only room for a line. */

import { strings } from "../../i18n/strings";
import { TABLE_TYPE, type Attachment } from "../../protocol/attachments";
import type { Message } from "../../protocol/entries";
import { plainText } from "../shared/text";

export const attachmentName = ({ name, mime }: Attachment): string =>
  name ?? (mime === TABLE_TYPE ? strings.table : strings.image);

/** Joined by commas. */
export const attachmentNames = ({ parts = [] }: Message): string => parts.map(attachmentName).join(", ");

/** The message's text in one line; without one, the names of its attachments. */
export const summary = (message: Message): string =>
  (message.format === "plain" ? message.text : plainText(message.text)) || attachmentNames(message);
