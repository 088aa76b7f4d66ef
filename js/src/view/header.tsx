/** The room's name, its members, and the button that copies its link. */

import type { JSX } from "preact";
import { isReader } from "../model/presence";
import type { State } from "../model/state";
import { Members } from "./members";
import { ShareButton } from "./share-button";

interface Props {
  readonly state: State;
  readonly heading: "h1" | "h2";
  readonly shareUrl: string | undefined;
}

export function Header({ state, heading: Heading, shareUrl }: Props): JSX.Element {
  const ended = state.status.status === "closed" || state.comm === "gone";
  return (
    <header class="bq-header">
      <Heading class="bq-room" dir="auto">
        {state.room}
      </Heading>
      <Members members={ended ? [] : state.members} isReader={(member) => isReader(state, member)} />
      {shareUrl !== undefined && <ShareButton url={shareUrl} />}
    </header>
  );
}
