/** Hooks for a clock, the clipboard and the worker. */

import { useEffect, useState } from "preact/hooks";
import type { Job, JobResult } from "../../worker/jobs";
import { workerClient } from "../../worker/worker-client";

const COPIED_NOTICE_MS = 1_500;

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

/** `copied` is true for a moment after `copy`, which resolves to false where copying is not allowed. */
export function useCopy(): { readonly copied: boolean; readonly copy: (text: string) => Promise<boolean> } {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), COPIED_NOTICE_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (text: string): Promise<boolean> => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      return true;
    } catch {
      return false; // an insecure origin, or a frame without the permission
    }
  };
  return { copied, copy };
}

/** The worker's result; null until it is there, without a job, and where the text is to be shown as written. */
export function useWorkerJob<J extends Job>(job: J | null): JobResult<J> | null {
  const [, rerender] = useState({});
  const cached = job === null ? null : workerClient.cached(job);
  useEffect(() => {
    if (job === null || cached !== undefined) return undefined;
    const unmounted = new AbortController();
    workerClient.submit(job, unmounted.signal, () => rerender({}));
    return () => unmounted.abort();
  }, [job?.do, job?.text, cached === undefined]);
  return cached ?? null;
}
