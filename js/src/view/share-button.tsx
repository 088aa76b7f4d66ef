/** A button that copies the room's address; where copying is not allowed, the address itself to copy by hand. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useCopy } from "./shared/hooks";
import { CheckIcon, LinkIcon } from "./shared/icons";
import { words } from "../i18n/strings";

export function Share({ link }: { readonly link: string }): JSX.Element {
  const { copied, copy } = useCopy();
  const [byHand, setByHand] = useState(false);
  if (byHand) {
    return (
      <input
        class="bq-address"
        aria-label={words.address}
        readOnly
        value={link}
        ref={(input) => input?.select()}
        onBlur={() => setByHand(false)}
      />
    );
  }
  const share = async (): Promise<void> => setByHand(!(await copy(link)));
  return (
    <button type="button" class="bq-share" title={words.copyLink} onClick={() => void share()}>
      {copied ? <CheckIcon /> : <LinkIcon />}
      <span>{copied ? words.copied : words.copyLink}</span>
    </button>
  );
}
