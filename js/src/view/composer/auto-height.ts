/** Makes a text area as high as its text; the style sheet sets the maximum, from which on it scrolls. */

import { useEffect, useLayoutEffect } from "preact/hooks";

/** Also when the layout changes later, as when a cell is run again, or the width does. */
export function useAutoHeight(box: { readonly current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => fitHeight(box.current), [text]);
  useEffect(() => {
    // In the next frame: browsers report an error if a size changes inside the observer's callback.
    const observer = new ResizeObserver(() => requestAnimationFrame(() => fitHeight(box.current)));
    observer.observe(box.current!.parentElement!);
    return () => observer.disconnect();
  }, []);
}

function fitHeight(box: HTMLTextAreaElement | null): void {
  if (box === null) return;
  box.style.height = "auto";
  if (box.scrollHeight > 0) box.style.height = `${box.scrollHeight}px`;
}
