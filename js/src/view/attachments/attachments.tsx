/** What is attached to a message: pictures, tables and, of what this version doesn't know, the name alone.
 *
 * A picture is never more than an `<img>`, fetched when it comes near the reader, in a place that is kept for it.
 */

import { createContext, type JSX } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { Held, Media } from "../../room/attachment-cache";
import { IMAGES, TABLE, type Part } from "../../protocol/frames";
import { Refused } from "../../transport/source";
import { Files } from "../messages/body";
import { TableOf } from "./table";
import { reasonOf, words } from "../../i18n/strings";

/** Where attachments come from, for all rows of a window. */
export const MediaContext = createContext<Media | null>(null);

/** A picture's place: no wider, no higher. Pixels. */
const WIDEST = 420;
const HIGHEST = 320;
/** A place for one that doesn't tell its size. */
const UNKNOWN = { width: 320, height: 180 };
const NEAR = "400px";

export function Attachments({ parts }: { readonly parts: readonly Part[] }): JSX.Element {
  const others = parts.filter(({ mime }) => mime !== TABLE && !IMAGES.includes(mime));
  return (
    <>
      {parts.map((part, index) => {
        // The same picture twice is two pictures.
        const key = `${index} ${part.sha256}`;
        if (IMAGES.includes(part.mime)) return <Picture key={key} part={part} />;
        return part.mime === TABLE ? <TablePart key={key} part={part} /> : null;
      })}
      {others.length > 0 && <Files parts={others} />}
    </>
  );
}

/** What to call it where it can't be seen. */
export const nameOf = (part: Part): string => part.name ?? (part.mime === TABLE ? words.table : words.picture);

function Picture({ part }: { readonly part: Part }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const { value, trouble, again } = useHeld(frame, part, ({ address }) => address);
  const [large, enlarge] = useState(false);
  const [broken, setBroken] = useState(false);
  const name = nameOf(part);
  return (
    <div class="bq-picture" ref={frame} style={placeOf(part)}>
      {value !== null && !broken && (
        <button type="button" class="bq-enlarge" aria-label={words.enlarge(name)} onClick={() => enlarge(true)}>
          <img src={value} alt={name} decoding="async" draggable={false} onError={() => setBroken(true)} />
        </button>
      )}
      {value === null && trouble === null && <span class="bq-sr">{words.loadingPart(name)}</span>}
      {(trouble !== null || broken) && (
        <Missing name={name} why={trouble ?? words.brokenPicture} {...(!broken && { again })} />
      )}
      {large && value !== null && <Large address={value} name={name} onClose={() => enlarge(false)} />}
    </div>
  );
}

function TablePart({ part }: { readonly part: Part }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const { value, trouble, again } = useHeld(frame, part, textOf);
  const name = nameOf(part);
  return (
    <div class="bq-tablepart" ref={frame}>
      {value !== null && <TableOf json={value} name={name} named={part.name !== undefined} />}
      {value === null && trouble === null && <p class="bq-loading">{words.loadingPart(name)}</p>}
      {trouble !== null && <Missing name={name} why={trouble} again={again} />}
    </div>
  );
}

const textOf = ({ blob }: Held): Promise<string> => blob.then((bytes) => bytes.text());

interface MissingProps {
  readonly name: string;
  readonly why: string;
  readonly again?: () => void;
}

function Missing({ name, why, again }: MissingProps): JSX.Element {
  return (
    <p class="bq-missing">
      <span dir="auto">
        <b>{name}</b> {why}
      </span>
      {again && (
        <button type="button" class="bq-link" onClick={again}>
          {words.retry}
        </button>
      )}
    </p>
  );
}

interface LargeProps {
  readonly address: string;
  readonly name: string;
  readonly onClose: () => void;
}

/** As large as the window of the browser; a click anywhere, or Escape, closes it. */
function Large({ address, name, onClose }: LargeProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="bq-large" aria-label={name} onClose={onClose} onClick={() => dialog.current?.close()}>
      <img src={address} alt={name} />
      <p>
        <span dir="auto">{name}</span>
        <button type="button">{words.close}</button>
      </p>
    </dialog>
  );
}

interface Shown {
  readonly value: string | null;
  readonly trouble: string | null;
  readonly again: () => void;
}

/** What `read` makes of an attachment, from the moment on that `frame` is near what the reader sees. */
function useHeld(
  frame: { readonly current: Element | null },
  part: Part,
  read: (held: Held) => Promise<string>,
): Shown {
  const media = useContext(MediaContext);
  const [value, setValue] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [tries, setTries] = useState(0);
  const near = useNear(frame);
  useEffect(() => {
    if (media === null || !near) return undefined;
    let shown = true;
    const held = media.hold(part);
    read(held).then(
      (found) => shown && setValue(found),
      (error: unknown) => shown && setTrouble(error instanceof Refused ? reasonOf(error.trouble) : words.partLost),
    );
    return () => {
      shown = false;
      held.release();
    };
  }, [media, near, part.sha256, tries]);
  const again = (): void => {
    setTrouble(null);
    setTries(tries + 1);
  };
  return { value, trouble, again };
}

/** Whether it has ever been near the part of the list that is seen. */
function useNear(frame: { readonly current: Element | null }): boolean {
  const [near, setNear] = useState(false);
  useEffect(() => {
    const element = frame.current;
    if (element === null) return undefined;
    const watch = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) setNear(true);
      },
      { root: element.closest(".bq-scroll"), rootMargin: NEAR },
    );
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return near;
}

/** Kept from the first moment on, so that nothing moves when the picture comes. */
function placeOf({ width, height }: Part): { readonly width: string; readonly aspectRatio: string } {
  const size = width && height ? { width, height } : UNKNOWN;
  const scale = Math.min(1, WIDEST / size.width, HIGHEST / size.height);
  return { width: `${Math.max(24, Math.round(size.width * scale))}px`, aspectRatio: `${size.width} / ${size.height}` };
}
