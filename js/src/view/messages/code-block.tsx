/** A block of code: in colours where its language is known, contained, scrolled sideways, copied with one click. */

import type { ComponentChildren, JSX } from "preact";
import type { Run } from "../../worker/highlight";
import { useCopy, useWork } from "../shared/hooks";
import { words } from "../../i18n/strings";

export function Code({ text, info }: { readonly text: string; readonly info: string }): JSX.Element {
  const { copied, copy } = useCopy();
  const language = languageOf(info);
  const runs = useWork(language === "" ? null : { do: "highlight", text, language });
  return (
    <div class="bq-code">
      {/* Scrolled sideways by keyboard too. */}
      <pre dir="ltr" tabIndex={0} role="group" aria-label={language === "" ? words.code : language}>
        <code>{runs === null ? text : runs.map(run)}</code>
      </pre>
      <button type="button" class="bq-copy" onClick={() => void copy(text)}>
        {copied ? words.copied : words.copy}
      </button>
    </div>
  );
}

/** The first word behind the fence: `python title="x"` is Python. */
const languageOf = (info: string): string => (/^[^\s{,]*/.exec(info)?.[0] ?? "").toLowerCase();

const run = (each: Run): ComponentChildren =>
  typeof each === "string" ? each : <span class={`bq-code-${each[0]}`}>{each[1]}</span>;
