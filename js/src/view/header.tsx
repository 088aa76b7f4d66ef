/** The room's name, the search, its members, and what else its buttons open. */

import type { JSX, RefObject } from "preact";
import { strings } from "../i18n/strings";
import { isReader } from "../model/presence";
import type { State } from "../model/state";
import type { Message } from "../protocol/entries";
import type { Moderation, Order } from "../protocol/moderation";
import type { Invite } from "../protocol/rooms";
import { Members } from "./members";
import { ModerationMenu } from "./moderation-menu";
import { Notifications } from "./notifications";
import { ShareButton } from "./share-button";
import { IconButton } from "./shared/icon-button";
import { BackIcon, SearchIcon } from "./shared/icons";

interface Props {
  readonly state: State;
  readonly heading: "h1" | "h2";
  /** The page with the list of rooms; absent where that is somewhere else. */
  readonly roomsUrl: string | undefined;
  readonly searchButton: RefObject<HTMLButtonElement | null>;
  readonly searching: boolean;
  readonly onSearch: () => void;
  readonly link: (invite: Invite | null) => Promise<string>;
  /** Shows a message. */
  readonly onOpen: (message: Message) => void;
  readonly moderate: (order: Order | null) => Promise<Moderation>;
}

export function Header({ state, heading: Heading, roomsUrl, searchButton, searching, onSearch, link, onOpen, moderate }: Props): JSX.Element {
  const ended = state.status.status === "closed" || state.comm === "gone";
  return (
    <header class="bq-header">
      {roomsUrl !== undefined && (
        <a class="bq-header-button bq-to-rooms" href={roomsUrl} rel="noopener noreferrer" aria-label={strings.allRooms} title={strings.allRooms}>
          <BackIcon />
        </a>
      )}
      <Heading class="bq-room" dir="auto">
        {state.room}
      </Heading>
      <IconButton ref={searchButton} class="bq-header-button" label={strings.search} aria-expanded={searching} onClick={onSearch}>
        <SearchIcon />
      </IconButton>
      {!ended && state.role === "moderate" && <ModerationMenu state={state} moderate={moderate} />}
      {!ended && <Notifications state={state} onOpen={onOpen} />}
      <Members members={ended ? [] : state.members} isReader={(member) => isReader(state, member)} />
      {!ended && <ShareButton link={link} share={state.share} />}
    </header>
  );
}
