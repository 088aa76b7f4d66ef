/** The files to be sent with the next message: pasted, dropped or chosen, and uploaded at once. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { formatBytes } from "../../i18n/format";
import { errorText, strings } from "../../i18n/strings";
import { IMAGE_TYPES, type Attachment } from "../../protocol/attachments";
import { RequestError } from "../../protocol/errors";
import { newId } from "../../protocol/ids";
import { MAX_ATTACHMENTS } from "../../protocol/limits";
import { MAX_NAME_CHARACTERS } from "../../protocol/limits";
import type { Room } from "../../room/room";
import { loadAttachments, saveAttachments } from "../shared/storage";
import { toWellFormed, truncate } from "../shared/text";

/** The server's codes for files that no retry makes acceptable. */
const REFUSALS = new Set(["bad_type", "bad_part", "too_big", "empty", "no_parts"]);

export interface Upload {
  readonly id: string;
  readonly name: string;
  /** Null if there is nothing to retry. */
  readonly file: File | null;
  /** The URL of a preview; empty if there is none. */
  readonly preview: string;
  /** The fraction sent, from 0 to 1. */
  readonly progress: number;
  readonly attachment: Attachment | null;
  readonly error: string | null;
  /** No retry would change that: the message is sent without it. */
  readonly refused: boolean;
}

export interface Uploads {
  readonly items: readonly Upload[];
  /** Of the finished uploads, in the order they were added. */
  readonly attachments: readonly Attachment[];
  readonly busy: boolean;
  /** An upload failed that a retry may bring. */
  readonly failed: boolean;
  /** Returns false if there is no file to add. */
  readonly add: (files: Iterable<File> | null | undefined) => boolean;
  readonly retry: (id: string) => void;
  readonly remove: (id: string) => void;
  readonly clear: () => void;
}

/** `maxBytes` is the server's limit for one attachment; 0: it accepts none. */
export function useUploads(room: Room, roomName: string, maxBytes: number): Uploads {
  const [items, setItems] = useState(() => loadAttachments(roomName).map((attachment) => newUpload(attachment.name ?? "", { attachment })));
  const running = useRef(new Map<string, AbortController>());
  const update = (id: string, fields: Partial<Upload>): void =>
    setItems((now) => now.map((item) => (item.id === id ? { ...item, ...fields } : item)));
  const attachments = items.flatMap(({ attachment }) => attachment ?? []);
  useLayoutEffect(() => saveAttachments(roomName, attachments), [items, roomName]);
  useEffect(
    () => () => {
      for (const upload of running.current.values()) upload.abort();
    },
    [],
  );
  const upload = async ({ id, name, file }: Upload): Promise<void> => {
    if (file === null) return;
    const abort = new AbortController();
    running.current.set(id, abort);
    update(id, { error: null, refused: false, progress: 0 });
    try {
      const attachment = await room.upload(file, (progress) => update(id, { progress }), abort.signal);
      update(id, { attachment: { ...attachment, name } });
    } catch (error) {
      if (abort.signal.aborted) return;
      const info = error instanceof RequestError ? error.info : null;
      update(id, { error: info === null ? strings.uploadFailed : errorText(info), refused: REFUSALS.has(info?.code ?? "") });
    } finally {
      running.current.delete(id);
    }
  };
  const drop = (dropped: readonly Upload[]): void => {
    for (const { id, preview } of dropped) {
      running.current.get(id)?.abort();
      URL.revokeObjectURL(preview);
    }
    setItems((now) => now.filter((item) => !dropped.some(({ id }) => id === item.id)));
  };
  return {
    items,
    attachments,
    busy: items.some(({ attachment, error }) => attachment === null && error === null),
    failed: items.some(({ error, refused }) => error !== null && !refused),
    add(files) {
      const added = [...(files ?? [])].map((file, index): Upload => {
        const full = items.length + index >= MAX_ATTACHMENTS ? strings.tooManyAttachments(MAX_ATTACHMENTS) : null;
        const error = full ?? validationError(file, maxBytes);
        const name = truncate(toWellFormed(file.name), MAX_NAME_CHARACTERS - 1); // one for the ellipsis
        return newUpload(name, error === null ? { file, preview: previewUrl(file) } : { error, refused: true });
      });
      setItems((now) => [...now, ...added]);
      for (const item of added) void upload(item);
      return added.length > 0;
    },
    retry(id) {
      const item = items.find((each) => each.id === id);
      if (item !== undefined) void upload(item);
    },
    remove: (id) => drop(items.filter((item) => item.id === id)),
    clear: () => drop(items),
  };
}

const newUpload = (name: string, fields: Partial<Upload>): Upload => {
  const empty = { file: null, preview: "", progress: 0, attachment: null, error: null, refused: false };
  return { id: newId(), name: name || strings.image, ...empty, ...fields };
};

/** None for SVG, which is also a document: a `blob:` URL has the notebook's origin. */
const previewUrl = (file: File): string => (file.type === "image/svg+xml" ? "" : URL.createObjectURL(file));

/** Why the server would reject the file. */
function validationError(file: File, maxBytes: number): string | null {
  if (maxBytes === 0) return strings.attachmentsDisabled;
  if (!IMAGE_TYPES.includes(file.type)) return strings.imagesOnly;
  if (file.size === 0) return strings.fileEmpty;
  return file.size > maxBytes ? strings.fileTooLarge(formatBytes(file.size), formatBytes(maxBytes)) : null;
}
