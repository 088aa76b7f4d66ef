/** What a name stands on: the server's word, or the word of whoever uses it. */

import type { JSX } from "preact";
import { VerifiedIcon } from "./icons";
import { words } from "../../i18n/strings";

/** `mixed`: there are verified names here, so one that isn't must not pass for one of them. */
export type Standing = "verified" | "unverified" | "unverified among verified";

export function standingOf(verified: boolean | undefined, mixed: boolean): Standing {
  if (verified) return "verified";
  return mixed ? "unverified among verified" : "unverified";
}

/** The mark behind a name. Where nobody is verified there is none: the name's own title says what it is. */
export function Mark({ standing }: { readonly standing: Standing }): JSX.Element | null {
  if (standing === "unverified") return null;
  if (standing !== "verified") return <span class="bq-badge bq-asserted">{words.unverified}</span>;
  return (
    <span class="bq-verified" title={words.verified}>
      <VerifiedIcon />
      <span class="bq-sr">{words.verified}</span>
    </span>
  );
}

export const titleOf = (standing: Standing): string | undefined => (standing === "verified" ? undefined : words.asserted);
