/** Copies the room's address; from a notebook also one that lets a person in. Where copying is not allowed, it shows it. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { errorText, strings } from "../i18n/strings";
import { RequestError } from "../protocol/errors";
import { Disclosure } from "./shared/disclosure";
import { useCopy } from "./shared/hooks";
import { CheckIcon, LinkIcon, ShareIcon } from "./shared/icons";

interface Props {
  /** Rejects with an Error. */
  readonly link: (invite: boolean) => Promise<string>;
  /** Whether `link` makes invites. */
  readonly invites: boolean;
}

export function ShareButton({ link, invites }: Props): JSX.Element {
  if (!invites) return <CopyLink class="bq-header-button bq-share" label={strings.copyLink} load={() => link(false)} />;
  const button = (
    <>
      <ShareIcon />
      <span>{strings.share}</span>
    </>
  );
  return (
    <Disclosure class="bq-share" button={button}>
      <div class="bq-popover" role="group" aria-label={strings.share}>
        <CopyLink label={strings.copyLink} load={() => link(false)} />
        <CopyLink label={strings.copyInvite} load={() => link(true)} />
        <p>{strings.shareHint}</p>
      </div>
    </Disclosure>
  );
}

interface CopyProps {
  readonly class?: string;
  readonly label: string;
  readonly load: () => Promise<string>;
}

function CopyLink({ class: className = "bq-header-button", label, load }: CopyProps): JSX.Element {
  const { copied, copy } = useCopy();
  const [shown, setShown] = useState<string | null>(null);
  const [error, setError] = useState("");
  if (shown !== null) {
    return (
      <input
        class="bq-url"
        aria-label={strings.roomUrl}
        readOnly
        value={shown}
        ref={(input) => input?.select()}
        onBlur={() => setShown(null)}
      />
    );
  }
  const share = async (): Promise<void> => {
    try {
      const url = await load();
      setError("");
      setShown((await copy(url)) ? null : url);
    } catch (reason) {
      setError(reason instanceof RequestError ? errorText(reason.info) : strings.linkFailed);
    }
  };
  const content: ComponentChildren = copied ? strings.copied : label;
  return (
    <>
      <button type="button" class={className} title={label} onClick={() => void share()}>
        {copied ? <CheckIcon /> : <LinkIcon />}
        <span>{content}</span>
      </button>
      {error !== "" && (
        <p class="bq-error" role="alert">
          {error}
        </p>
      )}
    </>
  );
}
