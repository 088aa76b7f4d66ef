/** A block of code: highlighted if its language is known, scrolled sideways, with a button to copy it, or to select it. */

import type { ComponentChildren, JSX } from "preact";
import { useRef } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { CodeToken } from "../../worker/highlight";
import { useCopy, useSettled, useWorkerJob } from "../shared/hooks";

export function CodeBlock({ text, info }: { readonly text: string; readonly info: string }): JSX.Element {
  const { copied, copy } = useCopy();
  const language = languageOf(info);
  // Not while it grows: each state would be highlighted, and be in colour only until the next one.
  const settled = useSettled(text);
  const tokens = useWorkerJob(language === "" || !settled ? null : { do: "highlight", text, language });
  const highlighted = useRef<{ text: string; language: string; tokens: readonly CodeToken[] } | null>(null);
  if (tokens !== null) highlighted.current = { text, language, tokens };
  const kept = highlighted.current;
  const grown = kept !== null && kept.language === language && text.startsWith(kept.text);
  const block = useRef<HTMLPreElement>(null);
  const copyOrSelect = async (): Promise<void> => {
    if (!(await copy(text)) && block.current !== null) getSelection()?.selectAllChildren(block.current);
  };
  return (
    <div class="bq-code">
      {/* Focusable, so that the keyboard can scroll it. */}
      <pre ref={block} dir="ltr" tabIndex={0} role="group" aria-label={language === "" ? strings.code : language}>
        <code>{grown ? [...kept.tokens.map(renderToken), text.slice(kept.text.length)] : text}</code>
      </pre>
      <button type="button" class="bq-copy" onClick={() => void copyOrSelect()}>
        {copied ? strings.copied : strings.copy}
      </button>
    </div>
  );
}

/** The first word after the fence: `python title="x"` is Python. */
const languageOf = (info: string): string => (/^[^\s{,]*/.exec(info)?.[0] ?? "").toLowerCase();

const renderToken = (token: CodeToken): ComponentChildren =>
  typeof token === "string" ? token : <span class={`bq-code-${token[0]}`}>{token[1]}</span>;
