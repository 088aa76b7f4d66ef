/** For moderators: closes the room and reopens it, mutes members and unmutes them. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { formatDateTime, formatTime, isSameDay } from "../i18n/format";
import { errorText, strings } from "../i18n/strings";
import type { State } from "../model/state";
import { RequestError } from "../protocol/errors";
import type { Moderation, Order } from "../protocol/moderation";
import { Disclosure } from "./shared/disclosure";
import { ShieldIcon } from "./shared/icons";
import { mentionableNames } from "./shared/mentions";

/** What a mute may last; without minutes until a moderator lifts it. */
const MUTE_MINUTES = [10, 60, 24 * 60, undefined];

interface Props {
  readonly state: State;
  /** Gives an order, if there is one. Resolves to what is in force; rejects with an Error. */
  readonly moderate: (order: Order | null) => Promise<Moderation>;
}

const endOf = (until: number): string => (isSameDay(until, Date.now()) ? formatTime(until) : formatDateTime(until));

export const ModerationMenu = (props: Props): JSX.Element => (
  <Disclosure class="bq-moderation" button={<ShieldIcon />} label={strings.moderation}>
    <Orders {...props} />
  </Disclosure>
);

function Orders({ state, moderate }: Props): JSX.Element {
  const [inForce, setInForce] = useState<Moderation | null>(null);
  const [error, setError] = useState("");
  const [minutes, setMinutes] = useState(MUTE_MINUTES[0]);
  const give = (order: Order | null): void => {
    const failed = (reason: unknown): void => setError(reason instanceof RequestError ? errorText(reason.info) : strings.orderFailed);
    moderate(order).then((now) => {
      setInForce(now);
      setError("");
    }, failed);
  };
  useEffect(() => give(null), []);
  const { closed = false, mutes = [] } = inForce ?? {};
  const muted = new Set(mutes.map(({ user }) => user.toLocaleLowerCase()));
  const others = mentionableNames(state).filter((user) => !muted.has(user.toLocaleLowerCase()));
  return (
    <div class="bq-popover" role="group" aria-label={strings.moderation} aria-busy={inForce === null}>
      {error !== "" && (
        <p class="bq-error" role="alert">
          {error}
        </p>
      )}
      {inForce !== null && (
        <>
          <button type="button" class="bq-header-button" onClick={() => give({ do: closed ? "reopen" : "close" })}>
            {closed ? strings.reopenRoom : strings.closeRoom}
          </button>
          <p>{strings.closedHint(closed)}</p>
          {others.length > 0 && (
            <label>
              {strings.muteFor}{" "}
              <select onChange={({ currentTarget }) => setMinutes(MUTE_MINUTES[currentTarget.selectedIndex])}>
                {MUTE_MINUTES.map((each) => (
                  <option key={each} selected={each === minutes}>
                    {strings.muteMinutes(each)}
                  </option>
                ))}
              </select>
            </label>
          )}
          <ul>
            {mutes.map(({ user, until }) => (
              <li key={user}>
                <span>
                  <span dir="auto">{user}</span>
                  <small>{strings.mutedUntil(until == null ? null : endOf(until))}</small>
                </span>
                <button type="button" aria-label={strings.unmuteUser(user)} onClick={() => give({ do: "unmute", user })}>
                  {strings.unmute}
                </button>
              </li>
            ))}
            {others.map((user) => (
              <li key={user}>
                <span dir="auto">{user}</span>
                <button
                  type="button"
                  aria-label={strings.muteUser(user)}
                  onClick={() => give({ do: "mute", user, ...(minutes !== undefined && { minutes }) })}
                >
                  {strings.mute}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
