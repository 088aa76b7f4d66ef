/** Whether the server authenticated a name, or its user chose it. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { VerifiedIcon } from "./icons";

export type Verification = "verified" | "unverified" | "unverified among verified";

/** `mixed`: verified names are shown too, so that an unverified one has to be marked. */
export function verificationOf(verified: boolean | undefined, mixed: boolean): Verification {
  if (verified) return "verified";
  return mixed ? "unverified among verified" : "unverified";
}

/** The badge after a name. Where no name is verified there are none, and only the name's title says so. */
export function VerificationBadge({ verification }: { readonly verification: Verification }): JSX.Element | null {
  if (verification === "unverified") return null;
  if (verification !== "verified") return <span class="bq-badge bq-unverified">{strings.unverified}</span>;
  return (
    <span class="bq-verified" title={strings.verified}>
      <VerifiedIcon />
      <span class="bq-sr">{strings.verified}</span>
    </span>
  );
}

export const verificationTitle = (verification: Verification): string | undefined =>
  verification === "verified" ? undefined : strings.unverifiedHint;
