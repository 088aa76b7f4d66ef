/** How others get in: the room's address, or an invite, and who can use it. Where copying is not allowed, it is shown. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { errorText, strings } from "../i18n/strings";
import { RequestError } from "../protocol/errors";
import type { Invite } from "../protocol/rooms";
import { Disclosure } from "./shared/disclosure";
import { useCopy } from "./shared/hooks";
import { CheckIcon, LinkIcon, ShareIcon } from "./shared/icons";

const MAX_USES = 100;
const MINUTES = [10, 60, 24 * 60, 7 * 24 * 60];
const DEFAULT_MINUTES = 60;
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
/** Of a room on a user's own server on a JupyterHub, which may have a name after the user's. */
const HUB_USER = /\/user\/([^/]+)\/([^/]+\/)?bqserver\/rooms\//;

interface Props {
  /** `Hello.share`: how those come in who get the link. */
  readonly share: string;
  /** The address, or an invite. Rejects with an Error. */
  readonly link: (invite: Invite | null) => Promise<string>;
}

export function ShareButton(props: Props): JSX.Element {
  const button = (
    <>
      <ShareIcon />
      <span>{strings.share}</span>
    </>
  );
  return (
    <Disclosure class="bq-share" button={button} label={strings.share}>
      <SharePanel {...props} />
    </Disclosure>
  );
}

function SharePanel({ share, link }: Props): JSX.Element {
  const [address, setAddress] = useState("");
  const [uses, setUses] = useState(1);
  const [minutes, setMinutes] = useState(DEFAULT_MINUTES);
  useEffect(() => void link(null).then(setAddress, () => undefined), []);
  const isLocal = address !== "" && LOOPBACK.test(new URL(address).hostname);
  const hint = share === "login" || share === "invite" || share === "session" ? share : "open";
  const hubUser = hint === "login" ? HUB_USER.exec(address)?.[1] : undefined;
  return (
    <div class="bq-popover" role="group" aria-label={strings.share}>
      {share === "invite" && (
        <>
          <CopyLink label={strings.copyInvite} load={() => link({ uses, minutes })} />
          <label>
            {strings.inviteUses}
            <input
              type="number"
              min={1}
              max={MAX_USES}
              value={uses}
              onInput={({ currentTarget: { valueAsNumber } }) => setUses(Math.min(Math.max(valueAsNumber || 1, 1), MAX_USES))}
            />
          </label>
          <label>
            {strings.inviteMinutes}
            <select value={minutes} onChange={({ currentTarget }) => setMinutes(Number(currentTarget.value))}>
              {MINUTES.map((each) => (
                <option key={each} value={each}>
                  {strings.duration(each)}
                </option>
              ))}
            </select>
          </label>
        </>
      )}
      <CopyLink label={strings.copyLink} load={() => link(null)} />
      <p>{hubUser === undefined ? strings.shareHints[hint] : strings.shareOnHub(decodeURIComponent(hubUser))}</p>
      {isLocal && <p class="bq-only-here">{wholeOptions(share === "login" ? strings.onlyHere.jupyter : strings.onlyHere.server)}</p>}
    </div>
  );
}

/** Lines would break after the hyphens of an option. */
const wholeOptions = (text: string): ComponentChildren[] =>
  text.split(/(--\S+)/).map((piece) => (piece.startsWith("--") ? <span class="bq-unbroken">{piece}</span> : piece));

interface CopyProps {
  readonly label: string;
  readonly load: () => Promise<string>;
}

function CopyLink({ label, load }: CopyProps): JSX.Element {
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
      <button type="button" class="bq-header-button" title={label} onClick={() => void share()}>
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
