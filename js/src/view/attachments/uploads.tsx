/** What is about to be sent with a message: files that were pasted, dropped or chosen, on their way to the server.
 *
 * Each is a chip that says how far it is, or why it isn't taken; until the message is sent it can be taken back.
 */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { IMAGES, MAX_PARTS, type Part } from "../../protocol/frames";
import { newId, type Room } from "../../room/room";
import { Refused } from "../../transport/source";
import { sizeOf } from "../messages/body";
import { cut, wellFormed } from "../shared/text";
import { AttachIcon, CloseIcon, FileIcon } from "../shared/icons";
import { rememberedParts, rememberParts } from "../shared/storage";
import { reasonOf, words } from "../../i18n/strings";

/** One less than the server takes, for what is cut ends with a dot of three. */
const LONGEST_NAME = 254;

export interface Chip {
  readonly id: string;
  readonly name: string;
  /** None where there is nothing to try again. */
  readonly file: File | null;
  /** Of `file`, to show; empty where that is no simple picture. */
  readonly preview: string;
  /** How much has gone, from 0 to 1. */
  readonly share: number;
  readonly part: Part | null;
  readonly error: string | null;
}

export interface Uploads {
  readonly chips: readonly Chip[];
  /** What is there, in the order it was added. */
  readonly parts: readonly Part[];
  readonly busy: boolean;
  readonly failed: boolean;
  /** False where there was no file to take. */
  readonly add: (files: Iterable<File> | null | undefined) => boolean;
  readonly retry: (id: string) => void;
  readonly remove: (id: string) => void;
  /** They have become a message. */
  readonly sent: () => void;
}

export function useUploads(room: Room, name: string, most: number): Uploads {
  const [chips, setChips] = useState(() => rememberedParts(name).map(chipOf));
  const running = useRef(new Map<string, AbortController>());
  const change = (id: string, by: Partial<Chip>): void =>
    setChips((now) => now.map((chip) => (chip.id === id ? { ...chip, ...by } : chip)));
  const parts = chips.flatMap(({ part }) => part ?? []);
  useEffect(() => rememberParts(name, parts), [chips, name]);
  useEffect(
    () => () => {
      for (const each of running.current.values()) each.abort();
    },
    [],
  );
  const put = async ({ id, name: called, file }: Chip): Promise<void> => {
    if (file === null) return;
    const stop = new AbortController();
    running.current.set(id, stop);
    change(id, { error: null, share: 0 });
    try {
      const part = await room.upload(file, (share) => change(id, { share }), stop.signal);
      change(id, { part: { ...part, name: called } });
    } catch (error) {
      if (stop.signal.aborted) return;
      change(id, { error: error instanceof Refused ? reasonOf(error.trouble) : words.notUploaded });
    } finally {
      running.current.delete(id);
    }
  };
  const drop = (gone: readonly Chip[]): void => {
    for (const { id, preview } of gone) {
      running.current.get(id)?.abort();
      URL.revokeObjectURL(preview);
    }
    setChips((now) => now.filter((chip) => !gone.some(({ id }) => id === chip.id)));
  };
  return {
    chips,
    parts,
    busy: chips.some(({ part, error }) => part === null && error === null),
    failed: chips.some(({ error }) => error !== null),
    add(files) {
      const fresh = [...(files ?? [])].map((file, index): Chip => {
        const full = chips.length + index >= MAX_PARTS ? words.tooMany(MAX_PARTS) : null;
        const error = full ?? wrong(file, most);
        return error === null ? { ...chipFor(file), preview: previewOf(file) } : { ...chipFor(file), file: null, error };
      });
      setChips((now) => [...now, ...fresh]);
      for (const chip of fresh) void put(chip);
      return fresh.length > 0;
    },
    retry(id) {
      const chip = chips.find((each) => each.id === id);
      if (chip !== undefined) void put(chip);
    },
    remove: (id) => drop(chips.filter((chip) => chip.id === id)),
    sent: () => drop(chips),
  };
}

const chipFor = (file: File): Chip => ({
  id: newId(),
  name: cut(wellFormed(file.name), LONGEST_NAME) || words.picture,
  file,
  preview: "",
  share: 0,
  part: null,
  error: null,
});

/** Never of what is also a page: this address has the notebook's origin. */
const previewOf = (file: File): string => (file.type === "image/svg+xml" ? "" : URL.createObjectURL(file));

const chipOf = (part: Part): Chip => ({
  id: newId(),
  name: part.name ?? words.picture,
  file: null,
  preview: "",
  share: 1,
  part,
  error: null,
});

/** Why the server would not take it, said before it is sent there. */
function wrong(file: File, most: number): string | null {
  if (most === 0) return words.noParts;
  if (!IMAGES.includes(file.type)) return words.onlyPictures;
  if (file.size === 0) return words.emptyFile;
  return file.size > most ? words.tooLarge(sizeOf(file.size), sizeOf(most)) : null;
}

export function Chips({ uploads }: { readonly uploads: Uploads }): JSX.Element | null {
  if (uploads.chips.length === 0) return null;
  return (
    <ul class="bq-chips" aria-label={words.attached}>
      {uploads.chips.map(({ id, name, file, preview, part, error, share }) => (
        <li key={id} class={`bq-chip${error === null ? "" : " bq-refused"}`}>
          {preview === "" ? <FileIcon /> : <img src={preview} alt="" />}
          <span class="bq-chip-name" dir="auto">
            {name}
          </span>
          {error === null && part === null && <progress max={1} value={share} aria-label={words.uploading(name)} />}
          {error !== null && (
            <span class="bq-chip-why" role="alert" dir="auto">
              {error}
            </span>
          )}
          {error !== null && file !== null && (
            <button type="button" class="bq-link" onClick={() => uploads.retry(id)}>
              {words.retry}
            </button>
          )}
          <button
            type="button"
            aria-label={words.takeBack(name)}
            title={words.takeBack(name)}
            onClick={() => uploads.remove(id)}
          >
            <CloseIcon />
          </button>
        </li>
      ))}
    </ul>
  );
}

export function AttachButton({ uploads }: { readonly uploads: Uploads }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const accept = useMemo(() => IMAGES.join(","), []);
  return (
    <>
      <button
        type="button"
        class="bq-attach"
        aria-label={words.attach}
        title={words.attach}
        onClick={() => input.current?.click()}
      >
        <AttachIcon />
      </button>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        accept={accept}
        aria-label={words.attach}
        onChange={({ currentTarget }) => {
          uploads.add(currentTarget.files);
          // The same file may be chosen again.
          currentTarget.value = "";
        }}
      />
    </>
  );
}

/** Files that are dropped anywhere on the window around `inside`; the notebook never sees them. */
export function useDrop(inside: { readonly current: Element | null }, uploads: Uploads, onDropped: () => void): void {
  const latest = useRef({ uploads, onDropped });
  latest.current = { uploads, onDropped };
  useEffect(() => {
    const target = inside.current?.closest<HTMLElement>(".bq-chat");
    if (!target) return undefined;
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer.dropEffect = "copy";
      target.classList.add("bq-dropping");
    };
    const leave = (event: DragEvent): void => {
      if (!target.contains(event.relatedTarget as Node | null)) target.classList.remove("bq-dropping");
    };
    const drop = (event: DragEvent): void => {
      target.classList.remove("bq-dropping");
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      if (latest.current.uploads.add(event.dataTransfer.files)) latest.current.onDropped();
    };
    target.addEventListener("dragenter", over);
    target.addEventListener("dragover", over);
    target.addEventListener("dragleave", leave);
    target.addEventListener("drop", drop);
    return () => {
      target.removeEventListener("dragenter", over);
      target.removeEventListener("dragover", over);
      target.removeEventListener("dragleave", leave);
      target.removeEventListener("drop", drop);
    };
  }, []);
}
