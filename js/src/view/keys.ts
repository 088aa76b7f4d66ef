/** What is typed in the chat stays in the chat: a notebook would take `dd` for "delete this cell".
 *
 * One chord is not for us and must not be lost: saving. It is repeated just outside the window, where a
 * notebook hears it, and the browser's own answer to it, a dialog to save the page, never comes.
 */

import { useEffect } from "preact/hooks";

const KINDS = ["keydown", "keyup", "keypress", "paste", "cut", "copy"];

export function useKeysStayHere(region: { readonly current: HTMLElement | null }): void {
  useEffect(() => {
    const element = region.current;
    const ended = new AbortController();
    const stay = (event: Event): void => {
      event.stopPropagation();
      if (event instanceof KeyboardEvent && event.type === "keydown" && saves(event)) passOn(event, element);
    };
    for (const kind of KINDS) element?.addEventListener(kind, stay, { signal: ended.signal });
    return () => ended.abort();
  }, [region]);
}

function saves({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === "s";
}

function passOn(event: KeyboardEvent, from: HTMLElement | null): void {
  event.preventDefault();
  const { key, code, ctrlKey, metaKey, shiftKey } = event;
  const again = { key, code, ctrlKey, metaKey, shiftKey, bubbles: true, cancelable: true, composed: true };
  from?.parentElement?.dispatchEvent(new KeyboardEvent("keydown", again));
}
