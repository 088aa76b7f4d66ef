/** Keeps keys that are typed in the window from the notebook, where `dd` would delete a cell.
 *
 * JupyterLab listens outside the window, so that stopping the event is enough. Notebook 7 listens before the window
 * does; it ignores events whose focused element has the attribute `data-lm-suppress-shortcuts`.
 *
 * Saving (Ctrl+S) is passed on: the event is dispatched again outside the window, for the notebook, and the
 * browser's own dialog is prevented.
 */

import { useEffect } from "preact/hooks";

const EVENT_TYPES = ["keydown", "keyup", "keypress", "paste", "cut", "copy"];

export function useKeyboardIsolation(region: { readonly current: HTMLElement | null }, enabled: boolean): void {
  useEffect(() => {
    if (!enabled) return undefined;
    const element = region.current;
    const unmounted = new AbortController();
    const { signal } = unmounted;
    const stop = (event: Event): void => {
      event.stopPropagation();
      if (event instanceof KeyboardEvent && event.type === "keydown" && isSaveShortcut(event)) redispatch(event);
    };
    const suppressShortcuts = ({ target }: FocusEvent): void => {
      if (target instanceof Element) target.setAttribute("data-lm-suppress-shortcuts", "true");
    };
    element?.addEventListener("focusin", suppressShortcuts, { signal });
    for (const type of EVENT_TYPES) element?.addEventListener(type, stop, { signal });
    return () => unmounted.abort();
  }, [region, enabled]);
}

function isSaveShortcut({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === "s";
}

/** To the body, because elements between it and the window may stop shortcuts too. */
function redispatch(event: KeyboardEvent): void {
  event.preventDefault();
  document.body.dispatchEvent(new KeyboardEvent(event.type, event));
}
