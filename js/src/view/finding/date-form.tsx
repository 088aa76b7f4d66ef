/** A form that goes to the first message of a day. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";

/** Given the day's beginning in the reader's time zone, in milliseconds since the epoch. */
export function DateForm({ onGo }: { readonly onGo: (at: number) => void }): JSX.Element {
  return (
    <form
      class="bq-date"
      onSubmit={(event) => {
        event.preventDefault();
        const day = new FormData(event.currentTarget).get("day");
        const at = typeof day === "string" ? new Date(`${day}T00:00`).getTime() : NaN;
        if (Number.isFinite(at)) onGo(Math.max(0, at));
      }}
    >
      <label>
        {strings.date} <input type="date" name="day" required min="1970-01-01" />
      </label>
      <button type="submit">{strings.goToDate}</button>
    </form>
  );
}
