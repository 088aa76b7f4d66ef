/** What several parts of the window need: a clock that ticks only while something counts down, the clipboard, a worker. */

import { useEffect, useState } from "preact/hooks";
import { offload } from "../../worker/worker-client";
import type { Answer, Job } from "../../worker/jobs";

/** The time now, renewed every `every` milliseconds until `until`. */
export function useNow(until: number | null, every = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (until === null) return undefined;
    setNow(Date.now());
    if (until <= Date.now()) return undefined;
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= until) clearInterval(timer);
    }, every);
    return () => clearInterval(timer);
  }, [until, every]);
  return now;
}

const TOLD_MS = 1_500;

/** `copied` for a moment after `copy` worked. It answers false where it is not allowed (an insecure origin, a frame). */
export function useCopy(): { readonly copied: boolean; readonly copy: (text: string) => Promise<boolean> } {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), TOLD_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (text: string): Promise<boolean> => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      return true;
    } catch {
      return false;
    }
  };
  return { copied, copy };
}

/** What the worker makes of it; null until then, where there is no job, and where it is to be shown as written. */
export function useWork<J extends Job>(job: J | null): Answer<J> | null {
  const [, redraw] = useState({});
  const known = job === null ? null : offload.known(job);
  useEffect(() => {
    if (job === null || known !== undefined) return undefined;
    const gone = new AbortController();
    offload.ask(job, gone.signal, () => redraw({}));
    return () => gone.abort();
  }, [job?.do, job?.text, known === undefined]);
  return known ?? null;
}
