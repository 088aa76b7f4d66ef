/** A message's text: Markdown, folded if it is very long, large if it is nothing but a few emoji. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import { Markdown } from "../markdown/markdown";

const MAX_UNFOLDED_CHARACTERS = 2_000;
const MAX_UNFOLDED_LINES = 30;
/** One emoji, including flags, skin tones and joined emoji. */
const EMOJI = String.raw`\p{RI}{2}|\p{ExtPict}(?:\p{EMod}|\uFE0F|\u200D\p{ExtPict})*`;
const EMOJI_ONLY = new RegExp(`^(?:(?:${EMOJI})\\s?){1,3}$`, "u");

interface Props {
  readonly text: string;
  /** "plain": it is not Markdown. */
  readonly format?: string | undefined;
  /** It is being written: it is not folded, and stays open at its end. */
  readonly live?: boolean;
}

export function MessageText({ text, format, live = false }: Props): JSX.Element {
  const [open, setOpen] = useState(live);
  const lines = text.split("\n", MAX_UNFOLDED_LINES + 1).length;
  const long = !live && (text.length > MAX_UNFOLDED_CHARACTERS || lines > MAX_UNFOLDED_LINES);
  const emojiOnly = text.length < 40 && EMOJI_ONLY.test(text.trim());
  return (
    <div class={`bq-text${long && !open ? " bq-folded" : ""}${emojiOnly ? " bq-big" : ""}`}>
      <Markdown text={text} plain={format === "plain"} live={live} />
      {long && (
        <button type="button" class="bq-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? strings.showLess : strings.showAll}
        </button>
      )}
    </div>
  );
}
