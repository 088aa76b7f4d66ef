/** What a message says: its quote, its text (folded where very long), its files, its reactions. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Message, Part } from "../../protocol/frames";
import { cut, QUOTED } from "../shared/text";
import { FileIcon } from "../shared/icons";
import { Markdown } from "./markdown";
import { locale, words } from "../../i18n/strings";

const FOLD_CHARACTERS = 2_000;
const FOLD_LINES = 30;
/** One to three emoji and nothing else: flags, skin tones and joined ones included. */
const EMOJI = String.raw`\p{RI}{2}|\p{ExtPict}(?:\p{EMod}|\uFE0F|\u200D\p{ExtPict})*`;
const EMOJI_ONLY = new RegExp(`^(?:(?:${EMOJI})\\s?){1,3}$`, "u");

export function Text({ text }: { readonly text: string }): JSX.Element {
  const [open, setOpen] = useState(false);
  const long = text.length > FOLD_CHARACTERS || text.split("\n", FOLD_LINES + 1).length > FOLD_LINES;
  const big = text.length < 40 && EMOJI_ONLY.test(text.trim());
  return (
    <div class={`bq-text${long && !open ? " bq-folded" : ""}${big ? " bq-big" : ""}`}>
      <Markdown text={text} />
      {long && (
        <button type="button" class="bq-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? words.showLess : words.showAll}
        </button>
      )}
    </div>
  );
}

export function Quote({ message }: { readonly message: Message | null }): JSX.Element {
  if (message === null) return <p class="bq-quote">{words.quoteGone}</p>;
  const names = (message.parts ?? []).map((part) => part.name ?? words.picture).join(", ");
  const text = message.deleted ? words.deleted : message.text || names;
  return (
    <p class="bq-quote">
      <b dir="auto">{message.user}</b>
      <span dir="auto">{cut(text, QUOTED)}</span>
    </p>
  );
}

export function Files({ parts }: { readonly parts: readonly Part[] }): JSX.Element {
  return (
    <ul class="bq-files">
      {parts.map((part) => (
        <li key={part.sha256}>
          <FileIcon />
          <span dir="auto">{part.name ?? part.mime}</span>
          <small>{sizeOf(part.size)}</small>
        </li>
      ))}
    </ul>
  );
}

export function sizeOf(bytes: number): string {
  const [size, unit] =
    bytes < 1_000 ? [bytes, "byte"] : bytes < 1_000_000 ? [bytes / 1_000, "kilobyte"] : [bytes / 1_000_000, "megabyte"];
  return new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 1 }).format(size);
}

interface ReactionsProps {
  readonly reactions: Readonly<Record<string, readonly string[]>>;
  readonly user: string;
  readonly onReact: (emoji: string, on: boolean) => void;
}

export function Reactions({ reactions, user, onReact }: ReactionsProps): JSX.Element | null {
  const given = Object.entries(reactions).filter(([, users]) => users.length > 0);
  if (given.length === 0) return null;
  return (
    <div class="bq-reactions">
      {given.map(([emoji, users]) => {
        const mine = users.includes(user);
        return (
          <button
            key={emoji}
            type="button"
            class="bq-reaction"
            aria-pressed={mine}
            aria-label={words.reacted(emoji, users)}
            title={users.join(", ")}
            onClick={() => onReact(emoji, !mine)}
          >
            <span dir="auto">{emoji}</span>
            <small>{users.length}</small>
          </button>
        );
      })}
    </div>
  );
}
