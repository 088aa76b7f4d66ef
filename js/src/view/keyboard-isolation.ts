/** What is typed in the chat stays in the chat: a notebook would take `dd` for "delete this cell".
 *
 * JupyterLab hears keys after us, and no further than we let them. Notebook 7 hears them before us; it leaves those
 * alone that are meant for an element which says so, and looks for that on the very element that has the focus.
 *
 * One chord is not for us and must not be lost: saving. It is repeated outside the window, where a
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
      if (event instanceof KeyboardEvent && event.type === "keydown" && saves(event)) passOn(event);
    };
    const mark = ({ target }: FocusEvent): void => {
      if (target instanceof Element) target.setAttribute("data-lm-suppress-shortcuts", "true");
    };
    element?.addEventListener("focusin", mark, { signal: ended.signal });
    for (const kind of KINDS) element?.addEventListener(kind, stay, { signal: ended.signal });
    return () => ended.abort();
  }, [region]);
}

function saves({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === "s";
}

/** On the body: what stands between it and us may keep shortcuts out as well, and saving is for the whole page. */
function passOn(event: KeyboardEvent): void {
  event.preventDefault();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- JupyterLab goes by it
  const { key, code, keyCode, ctrlKey, metaKey, shiftKey } = event;
  const again = { key, code, keyCode, ctrlKey, metaKey, shiftKey, bubbles: true, cancelable: true, composed: true };
  document.body.dispatchEvent(new KeyboardEvent("keydown", again));
}
