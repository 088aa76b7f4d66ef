/** A block of code: contained, scrolled sideways, copied with one click. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { words } from "./words";

export function Code({ text, language }: { readonly text: string; readonly language: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      // Not allowed here (an insecure origin, a frame): the code can still be selected.
    }
  };
  return (
    <div class="bq-code">
      {/* Scrolled sideways by keyboard too. */}
      <pre dir="ltr" tabIndex={0} role="group" aria-label={language === "" ? words.code : language}>
        <code>{text}</code>
      </pre>
      <button type="button" class="bq-copy" onClick={() => void copy()}>
        {copied ? words.copied : words.copy}
      </button>
    </div>
  );
}
