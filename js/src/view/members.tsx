/** Who is here: a count that opens into names, and whether each kernel computes just now. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Member } from "../protocol/frames";
import { Avatar } from "./shared/avatar";
import { PeopleIcon } from "./shared/icons";
import { Mark, standingOf, titleOf } from "./shared/verification-badge";
import { words } from "../i18n/strings";

export function Members({ members }: { readonly members: readonly Member[] }): JSX.Element | null {
  const [open, setOpen] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    const away = (event: Event): void => {
      // Where the window stands in a shadow (marimo), the target is its host: only the path says what was hit.
      if (place.current !== null && !event.composedPath().includes(place.current)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [open]);
  if (members.length === 0) return null;
  const leave = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !open) return;
    setOpen(false);
    button.current?.focus();
  };
  const mixed = members.some(({ verified }) => verified);
  const busy = members.filter((member) => member.busy).length;
  return (
    <div class="bq-members" ref={place} onKeyDown={leave}>
      <button ref={button} type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <PeopleIcon />
        <span>{words.members(members.length)}</span>
        {busy > 0 && <span class="bq-busy">{words.kernelsBusy(busy)}</span>}
      </button>
      {open && (
        <ul class="bq-people" aria-label={words.people} tabIndex={0}>
          {members.map((member, index) => (
            <li key={index}>
              <Avatar user={member.user} kernel={member.kind === "kernel"} profile={member.verified ? member.profile : null} />
              <Name member={member} mixed={mixed} />
              <small>{doing(member)}</small>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Name({ member, mixed }: { readonly member: Member; readonly mixed: boolean }): JSX.Element {
  const standing = standingOf(member.verified, mixed);
  return (
    <>
      <span dir="auto" title={titleOf(standing)}>
        {member.user}
      </span>
      <Mark standing={standing} />
      {member.verified && member.profile?.name && (
        <span class="bq-alias" dir="auto">
          {member.profile.name}
        </span>
      )}
    </>
  );
}

function doing({ kind, busy, typing }: Member): string {
  if (typing) return words.isTyping;
  if (kind !== "kernel") return "";
  return busy ? words.busy : words.idle;
}
