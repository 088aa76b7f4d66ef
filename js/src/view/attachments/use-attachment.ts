/** Loads an attachment from the room's cache once it is near the visible part of the list. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { errorText, strings } from "../../i18n/strings";
import type { Attachment } from "../../protocol/attachments";
import { RequestError } from "../../protocol/errors";
import type { AttachmentCache, AttachmentHandle } from "../../room/attachment-cache";

/** For all rows of a window. */
export const AttachmentCacheContext = createContext<AttachmentCache | null>(null);

const VIEWPORT_MARGIN = "400px";

interface LoadedAttachment {
  readonly value: string | null;
  readonly error: string | null;
  readonly retry: () => void;
}

/** The result of `read`, which starts when `frame` is near the visible part of the list. */
export function useAttachment(
  frame: { readonly current: Element | null },
  attachment: Attachment,
  read: (handle: AttachmentHandle) => Promise<string>,
): LoadedAttachment {
  const cache = useContext(AttachmentCacheContext);
  const [value, setValue] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const near = useNearViewport(frame);
  useEffect(() => {
    if (cache === null || !near) return undefined;
    let mounted = true;
    const handle = cache.acquire(attachment);
    read(handle).then(
      (result) => mounted && setValue(result),
      (reason: unknown) =>
        mounted && setError(reason instanceof RequestError ? errorText(reason.info) : strings.attachmentFailed),
    );
    return () => {
      mounted = false;
      handle.release();
    };
  }, [cache, near, attachment.sha256, attempt]);
  const retry = (): void => {
    setError(null);
    setAttempt(attempt + 1);
  };
  return { value, error, retry };
}

/** Whether it is, or was at some time, near the visible part of the list. */
function useNearViewport(frame: { readonly current: Element | null }): boolean {
  const [near, setNear] = useState(false);
  useEffect(() => {
    const element = frame.current;
    if (element === null) return undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) setNear(true);
      },
      { root: element.closest(".bq-scroll"), rootMargin: VIEWPORT_MARGIN },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return near;
}
