/** A button that opens something below it, which Escape and a click elsewhere close. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

interface Props {
  readonly class: string;
  /** What the button shows, and its accessible name if that is an icon. */
  readonly button: ComponentChildren;
  readonly label?: string;
  readonly children: ComponentChildren;
}

export function Disclosure({ class: className, button: content, label, children }: Props): JSX.Element {
  const [open, setOpen] = useState(false);
  const container = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    const closeOutside = (event: Event): void => {
      // Inside a shadow root (marimo) the event's target is the host; only the path contains the element.
      if (container.current !== null && !event.composedPath().includes(container.current)) setOpen(false);
    };
    document.addEventListener("pointerdown", closeOutside);
    return () => document.removeEventListener("pointerdown", closeOutside);
  }, [open]);
  const closeOnEscape = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !open) return;
    setOpen(false);
    button.current?.focus();
  };
  return (
    <div class={`bq-disclosure ${className}`} ref={container} onKeyDown={closeOnEscape}>
      <button
        ref={button}
        type="button"
        class="bq-header-button"
        aria-expanded={open}
        {...(label !== undefined && { "aria-label": label, title: label })}
        onClick={() => setOpen(!open)}
      >
        {content}
      </button>
      {open && children}
    </div>
  );
}
