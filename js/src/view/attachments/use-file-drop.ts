/** Adds files that are dropped anywhere on the window; the notebook does not get the event. */

import { useEffect, useRef } from "preact/hooks";
import type { Uploads } from "./use-uploads";

/** `inside`: any element of the window. `onDropped` is called after files were added. */
export function useFileDrop(inside: { readonly current: Element | null }, uploads: Uploads, onDropped: () => void): void {
  const latest = useRef({ uploads, onDropped });
  latest.current = { uploads, onDropped };
  useEffect(() => {
    const target = inside.current?.closest<HTMLElement>(".bq-chat");
    if (!target) return undefined;
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer.dropEffect = "copy";
      target.classList.add("bq-dropping");
    };
    const leave = (event: DragEvent): void => {
      if (!target.contains(event.relatedTarget as Node | null)) target.classList.remove("bq-dropping");
    };
    const drop = (event: DragEvent): void => {
      target.classList.remove("bq-dropping");
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      if (latest.current.uploads.add(event.dataTransfer.files)) latest.current.onDropped();
    };
    const unmounted = new AbortController();
    const { signal } = unmounted;
    target.addEventListener("dragenter", over, { signal });
    target.addEventListener("dragover", over, { signal });
    target.addEventListener("dragleave", leave, { signal });
    target.addEventListener("drop", drop, { signal });
    return () => unmounted.abort();
  }, []);
}
