/** A poll: a button for each choice with who voted for it; once it has ended, a line for each. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatTime } from "../../i18n/format";
import { errorText, strings } from "../../i18n/strings";
import type { PendingDraft } from "../../model/pending";
import type { Message } from "../../protocol/entries";
import { askedUsers } from "../../protocol/folding";
import { useNow } from "../shared/hooks";
import { pollEnd, tallyOf, type Option } from "./tally";

/** Further voters are counted, and named on request. */
const MAX_NAMED_VOTERS = 3;

interface Props {
  readonly poll: Message;
  /** When it ends by the reader's clock, in milliseconds since the epoch. */
  readonly endsAt: number | null;
  readonly user: string;
  /** The reader's last vote, if it is being sent or failed. */
  readonly vote: PendingDraft | null;
  /** The time and the state of the message. */
  readonly meta: JSX.Element;
  readonly onVote: (poll: Message, choice: string) => boolean;
  readonly onDiscard: (cid: string) => void;
}

export function Poll({ poll, endsAt, user, vote, meta, onVote, onDiscard }: Props): JSX.Element {
  const [named, setNamed] = useState(false);
  const now = useNow(poll.expired === undefined ? endsAt : null);
  const end = pollEnd(poll, endsAt !== null && now >= endsAt);
  const choice = vote?.draft.type === "chat.vote" ? vote.draft.choice : null;
  const { options, total } = tallyOf(poll, user, vote?.state === "sending" ? choice : null);
  const asked = askedUsers(poll.ask ?? {});
  const disabled = asked.length > 0 && !asked.includes(user);
  return (
    <>
      <ul class={`bq-poll${end === null ? "" : " bq-ended"}`} aria-label={strings.choices}>
        {options.map((option) => (
          <li key={option.choice} style={`--share: ${option.share}`} class={option.leads ? "bq-leads" : ""}>
            {end === null ? (
              <button
                type="button"
                class="bq-option"
                dir="auto"
                aria-pressed={option.own}
                disabled={disabled}
                onClick={() => option.own || onVote(poll, option.choice)}
              >
                {option.choice}
              </button>
            ) : (
              <span class="bq-option" dir="auto">
                {option.choice}
                {option.own && <span class="bq-sr"> {strings.yourVote}</span>}
              </span>
            )}
            {option.users.length > 0 && (
              <>
                <span class="bq-votes">{strings.votes(option.users.length)}</span>
                <span class="bq-voters" dir="auto">
                  {voters(option, named)}
                </span>
              </>
            )}
          </li>
        ))}
      </ul>
      {options.some(({ users }) => users.length > MAX_NAMED_VOTERS) && (
        <button type="button" class="bq-fold" aria-expanded={named} onClick={() => setNamed(!named)}>
          {named ? strings.showLess : strings.showVoters}
        </button>
      )}
      {vote?.state === "failed" && choice !== null && (
        <p class="bq-failed" role="alert">
          <span dir="auto">
            {strings.failures["chat.vote"]}
            {vote.error !== undefined && `: ${errorText(vote.error)}`}
          </span>
          {end === null && (
            <button type="button" class="bq-link" onClick={() => onVote(poll, choice)}>
              {strings.retry}
            </button>
          )}
          <button type="button" class="bq-link" onClick={() => onDiscard(vote.cid)}>
            {strings.discard}
          </button>
        </p>
      )}
      <div class="bq-line">
        <p class="bq-outcome" dir="auto">
          {[
            end !== null && strings.pollEnds[end],
            asked.length > 0 && end !== "all" ? strings.votesOf(total, asked.length) : strings.votes(total),
            asked.length > 0 && end === null && strings.votersAsked(asked.join(", ")),
            end === null && endsAt !== null && strings.openUntil(formatTime(endsAt)),
          ]
            .filter(Boolean)
            .join(" · ")}
        </p>
        {meta}
      </div>
    </>
  );
}

function voters({ users }: Option, all: boolean): string {
  const hidden = all ? 0 : Math.max(users.length - MAX_NAMED_VOTERS, 0);
  return users.slice(0, users.length - hidden).join(", ") + (hidden > 0 ? ` +${hidden}` : "");
}
