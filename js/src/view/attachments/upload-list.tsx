/** The files to be sent with a message, with their progress or error, and the button that adds files. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import { IMAGE_TYPES } from "../../protocol/attachments";
import { IconButton } from "../shared/icon-button";
import { AttachIcon, CloseIcon, FileIcon } from "../shared/icons";
import type { Uploads } from "./use-uploads";

export function UploadList({ uploads }: { readonly uploads: Uploads }): JSX.Element | null {
  if (uploads.items.length === 0) return null;
  return (
    <ul class="bq-chips" aria-label={strings.attachments}>
      {uploads.items.map(({ id, name, file, preview, attachment, error, refused, progress }) => (
        <li key={id} class={`bq-chip${error === null ? "" : " bq-chip-failed"}`}>
          <Preview src={preview} />
          <span class="bq-chip-name" dir="auto">
            {name}
          </span>
          {error === null && attachment === null && <progress max={1} value={progress} aria-label={strings.uploading(name)} />}
          {error !== null && (
            <span class="bq-chip-error" role="alert" dir="auto">
              {error}
            </span>
          )}
          {error !== null && file !== null && !refused && (
            <button type="button" class="bq-link" onClick={() => uploads.retry(id)}>
              {strings.retry}
            </button>
          )}
          <IconButton label={strings.removeAttachment(name)} onClick={() => uploads.remove(id)}>
            <CloseIcon />
          </IconButton>
        </li>
      ))}
    </ul>
  );
}

function Preview({ src }: { readonly src: string }): JSX.Element {
  const [broken, setBroken] = useState(false);
  return src === "" || broken ? <FileIcon /> : <img src={src} alt="" onError={() => setBroken(true)} />;
}

export function AttachButton({ uploads }: { readonly uploads: Uploads }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton label={strings.attach} class="bq-attach" onClick={() => input.current?.click()}>
        <AttachIcon />
      </IconButton>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        accept={IMAGE_TYPES.join(",")}
        aria-label={strings.attach}
        onChange={({ currentTarget }) => {
          uploads.add(currentTarget.files);
          // Otherwise choosing the same file again would not be a change.
          currentTarget.value = "";
        }}
      />
    </>
  );
}
