/** Hooks for time, the clipboard and the worker. */

import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { newId } from "../../protocol/ids";
import type { Job, JobResult } from "../../worker/jobs";
import { clientOf } from "../../worker/worker-client";

const COPIED_NOTICE_MS = 1_500;
const SETTLED_AFTER_MS = 300;

/** An id for an element, which no other window in the document has, not even one of another copy of this program. */
export function useUniqueId(): string {
  const [id] = useState(() => `bq-${newId()}`);
  return id;
}

/** The current time, updated every second until `until`; not at all if that is null. */
export function useNow(until: number | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (until === null) return undefined;
    setNow(Date.now());
    if (until <= Date.now()) return undefined;
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= until) clearInterval(timer);
    }, 1_000);
    return () => clearInterval(timer);
  }, [until]);
  return now;
}

/** Whether `value` has not changed for a moment, or never. */
export function useSettled(value: string): boolean {
  const [settled, setSettled] = useState(value);
  // Not an effect, which would request a frame of its own with each change.
  useLayoutEffect(() => {
    if (settled === value) return undefined;
    const timer = setTimeout(() => setSettled(value), SETTLED_AFTER_MS);
    return () => clearTimeout(timer);
  }, [value, settled]);
  return settled === value;
}

/** `total`, reached in steps, one after the other. */
export function useGradually(total: number, step: number): number {
  const [count, setCount] = useState(step);
  useEffect(() => {
    if (count >= total) return undefined;
    const timer = setTimeout(() => setCount(count + step));
    return () => clearTimeout(timer);
  }, [count, total]);
  return Math.min(count, total);
}

/** `copied` is true for a moment after `copy`, which resolves to false where copying is not allowed. */
export function useCopy(): { readonly copied: boolean; readonly copy: (text: string) => Promise<boolean> } {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), COPIED_NOTICE_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (text: string): Promise<boolean> => {
    // The types say that it is always there.
    const clipboard = navigator.clipboard as Clipboard | undefined;
    const written = await clipboard?.writeText(text).then(
      () => true,
      () => false,
    );
    const done = written === true || copyBySelection(text);
    if (done) setCopied(true);
    return done;
  };
  return { copied, copy };
}

/** Copies where `navigator.clipboard` is missing, as over plain http, or not permitted, as in some frames. */
function copyBySelection(text: string): boolean {
  const focused = document.activeElement;
  const box = document.body.appendChild(document.createElement("textarea"));
  box.value = text;
  box.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- nothing else works over plain http
  const { execCommand } = document as Partial<Document>;
  const done = execCommand?.call(document, "copy") ?? false;
  box.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}

/** The worker's result; null until it is there, without a job, and where the text is to be shown as written. */
export function useWorkerJob<J extends Job>(job: J | null): JobResult<J> | null {
  const [, rerender] = useState({});
  const cached = job === null ? null : clientOf(job).cached(job);
  useEffect(() => {
    if (job === null || cached !== undefined) return undefined;
    const unmounted = new AbortController();
    clientOf(job).submit(job, unmounted.signal, () => rerender({}));
    return () => unmounted.abort();
  }, [job?.do, job?.text, cached === undefined]);
  return cached ?? null;
}
