/** A button that copies the room's URL; where copying is not allowed, it shows the URL, selected. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { strings } from "../i18n/strings";
import { useCopy } from "./shared/hooks";
import { CheckIcon, LinkIcon } from "./shared/icons";

export function ShareButton({ url }: { readonly url: string }): JSX.Element {
  const { copied, copy } = useCopy();
  const [showUrl, setShowUrl] = useState(false);
  if (showUrl) {
    return (
      <input
        class="bq-url"
        aria-label={strings.roomUrl}
        readOnly
        value={url}
        ref={(input) => input?.select()}
        onBlur={() => setShowUrl(false)}
      />
    );
  }
  const share = async (): Promise<void> => setShowUrl(!(await copy(url)));
  return (
    <button type="button" class="bq-share" title={strings.copyLink} onClick={() => void share()}>
      {copied ? <CheckIcon /> : <LinkIcon />}
      <span>{copied ? strings.copied : strings.copyLink}</span>
    </button>
  );
}
