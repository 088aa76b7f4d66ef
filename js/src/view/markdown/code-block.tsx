/** A block of code: highlighted if its language is known, scrolled sideways, with a button to copy it, or to select it. */

import type { ComponentChildren, JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { CodeToken } from "../../worker/highlight";
import { openNotebooks } from "../shared/notebooks";
import { useCopy, useGradually, useSettled, useWorkerJob } from "../shared/hooks";

/** Thousands of elements at once would block the page. */
const TOKENS_PER_STEP = 800;

export function CodeBlock({ text, info }: { readonly text: string; readonly info: string }): JSX.Element {
  const { copied, copy } = useCopy();
  const language = languageOf(info);
  // Not while it grows: each state would be highlighted, and be in colour only until the next one.
  const settled = useSettled(text);
  const tokens = useWorkerJob(language === "" || !settled ? null : { do: "highlight", text, language });
  const highlighted = useRef<{ text: string; language: string; tokens: readonly CodeToken[] } | null>(null);
  if (tokens !== null) highlighted.current = { text, language, tokens };
  const previous = highlighted.current;
  const kept = previous?.language === language && text.startsWith(previous.text) ? previous.tokens : [];
  const shown = kept.slice(0, useGradually(kept.length, TOKENS_PER_STEP));
  const rest = text.slice(shown.reduce((length, token) => length + textOf(token).length, 0));
  const block = useRef<HTMLPreElement>(null);
  const copyOrSelect = async (): Promise<void> => {
    if (!(await copy(text)) && block.current !== null) getSelection()?.selectAllChildren(block.current);
  };
  return (
    <div class="bq-code">
      {/* Focusable, so that the keyboard can scroll it. */}
      <pre ref={block} dir="ltr" tabIndex={0} role="group" aria-label={language === "" ? strings.code : language}>
        <code>{[...shown.map(renderToken), rest]}</code>
      </pre>
      <div class="bq-code-buttons">
        <InsertButton text={text} />
        <button type="button" class="bq-copy" onClick={() => void copyOrSelect()}>
          {copied ? strings.copied : strings.copy}
        </button>
      </div>
    </div>
  );
}

/** In JupyterLab and Notebook 7. */
function InsertButton({ text }: { readonly text: string }): JSX.Element | null {
  const [failed, setFailed] = useState(false);
  const notebooks = openNotebooks();
  if (notebooks === null) return null;
  const insert = (): void => setFailed(!notebooks.insertBelow(text.replace(/\n$/, "")));
  return (
    <button type="button" class="bq-copy" title={strings.insertHint} onClick={insert}>
      {failed ? strings.noNotebook : strings.insertBelow}
    </button>
  );
}

/** The first word after the fence: `python title="x"` is Python. */
const languageOf = (info: string): string => (/^[^\s{,]*/.exec(info)?.[0] ?? "").toLowerCase();

const textOf = (token: CodeToken): string => (typeof token === "string" ? token : token[1]);

const renderToken = (token: CodeToken): ComponentChildren =>
  typeof token === "string" ? token : <span class={`bq-code-${token[0]}`}>{token[1]}</span>;
