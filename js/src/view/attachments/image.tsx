/** An attached image: never more than an `<img>`, in a placeholder of its size, and enlarged in a dialog. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { Attachment } from "../../protocol/attachments";
import { AttachmentFailure } from "./attachment-failure";
import { attachmentName } from "./names";
import { useAttachment } from "./use-attachment";

const MIN_WIDTH_PX = 24;
const MAX_WIDTH_PX = 420;
const MAX_HEIGHT_PX = 320;
/** In pixels, for images without a size. */
const DEFAULT_SIZE = { width: 320, height: 180 };

export function ImageAttachment({ attachment }: { readonly attachment: Attachment }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const { value, error, retry } = useAttachment(frame, attachment, ({ url }) => url);
  const [enlarged, setEnlarged] = useState(false);
  const [damaged, setDamaged] = useState(false);
  const name = attachmentName(attachment);
  return (
    <div class="bq-picture" ref={frame} style={placeholderStyle(attachment)}>
      {value !== null && !damaged && (
        <button type="button" class="bq-enlarge" aria-label={strings.enlarge(name)} onClick={() => setEnlarged(true)}>
          <img src={value} alt={name} decoding="async" draggable={false} onError={() => setDamaged(true)} />
        </button>
      )}
      {value === null && error === null && <span class="bq-sr">{strings.loadingAttachment(name)}</span>}
      {(error !== null || damaged) && (
        <AttachmentFailure name={name} reason={error ?? strings.imageDamaged} {...(!damaged && { onRetry: retry })} />
      )}
      {enlarged && value !== null && <ImageViewer url={value} name={name} onClose={() => setEnlarged(false)} />}
    </div>
  );
}

/** Set from the start, so that nothing moves when the image is loaded. */
function placeholderStyle({ width, height }: Attachment): { readonly width: string; readonly aspectRatio: string } {
  const size = width && height ? { width, height } : DEFAULT_SIZE;
  const scale = Math.min(1, MAX_WIDTH_PX / size.width, MAX_HEIGHT_PX / size.height);
  const shown = Math.max(MIN_WIDTH_PX, Math.round(size.width * scale));
  return { width: `${shown}px`, aspectRatio: `${size.width} / ${size.height}` };
}

interface ViewerProps {
  readonly url: string;
  readonly name: string;
  readonly onClose: () => void;
}

/** As large as the browser's window; a click anywhere, or Escape, closes it. */
function ImageViewer({ url, name, onClose }: ViewerProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="bq-viewer" aria-label={name} onClose={onClose} onClick={() => dialog.current?.close()}>
      <img src={url} alt={name} />
      <p>
        <span dir="auto">{name}</span>
        <button type="button">{strings.close}</button>
      </p>
    </dialog>
  );
}
