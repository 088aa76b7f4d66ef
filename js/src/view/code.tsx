/** A block of code: contained, scrolled sideways, copied with one click. */

import type { JSX } from "preact";
import { useCopy } from "./hooks";
import { words } from "./words";

export function Code({ text, language }: { readonly text: string; readonly language: string }): JSX.Element {
  const { copied, copy } = useCopy();
  return (
    <div class="bq-code">
      {/* Scrolled sideways by keyboard too. */}
      <pre dir="ltr" tabIndex={0} role="group" aria-label={language === "" ? words.code : language}>
        <code>{text}</code>
      </pre>
      <button type="button" class="bq-copy" onClick={() => void copy(text)}>
        {copied ? words.copied : words.copy}
      </button>
    </div>
  );
}
