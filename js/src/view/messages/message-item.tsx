/** One row of the list: a message with its author and time, or a draft that is still on its way. */

import { Component, type JSX } from "preact";
import type { Pending } from "../../model/pending";
import { Actions, type Deeds } from "./message-actions";
import { Avatar } from "../shared/avatar";
import { Attachments } from "../attachments/attachments";
import { Quote, Reactions, Text } from "./body";
import { CheckIcon } from "../shared/icons";
import { mentions } from "../shared/mentions";
import { Question } from "./question";
import type { Row } from "./rows";
import { Mark, titleOf } from "../shared/verification-badge";
import { fullTime, isoTime, timeOf } from "../../i18n/format";
import { reasonOf, words } from "../../i18n/strings";

interface Props extends Row {
  readonly user: string;
  readonly active: boolean;
  readonly answering: boolean;
  readonly deeds: Deeds;
}

/** Drawn again only when something it shows has changed: a new message costs one row, not all of them. */
export class Item extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const now = this.props;
    return (Object.keys(next) as (keyof Props)[]).some((name) => next[name] !== now[name]);
  }

  render({ message, own, kernel, standing, profile, first, last, day, unread, active }: Props): JSX.Element {
    const classes = ["bq-row", own && "bq-own", first && "bq-first", last && "bq-last", active && "bq-active"];
    return (
      <li class={classes.filter(Boolean).join(" ")} data-row data-seq={message.seq} tabIndex={-1}>
        {day !== null && (
          <div class="bq-divider">
            <span>{day}</span>
          </div>
        )}
        {unread && (
          <div class="bq-divider bq-unread">
            <span>{words.fresh}</span>
          </div>
        )}
        <div class="bq-message">
          {first && !own && <Avatar user={message.user} kernel={kernel} profile={profile} />}
          <div class="bq-column">
            <p class={first && !own ? "bq-author" : "bq-sr"}>
              <b dir="auto" title={titleOf(standing)}>
                {message.user}
              </b>
              {first && !own && <Mark standing={standing} />}
              {profile?.name && (
                <span class="bq-alias" dir="auto">
                  {profile.name}
                </span>
              )}
              {kernel && <span class="bq-badge">{words.kernel}</span>}
            </p>
            {this.bubble()}
          </div>
        </div>
      </li>
    );
  }

  bubble(): JSX.Element {
    const { message, own, quoted, answer, user, answering, active, deeds } = this.props;
    if (message.deleted) {
      return (
        <div class="bq-bubble bq-deleted">
          <div class="bq-line">
            <p>{words.deleted}</p>
            {this.meta()}
          </div>
        </div>
      );
    }
    const mentioned = !own && mentions(message.text, user);
    return (
      <>
        <div class={`bq-bubble${message.ask ? " bq-question" : ""}${mentioned ? " bq-mentioned" : ""}`}>
          {mentioned && <span class="bq-sr">{words.mentionsYou}</span>}
          {message.ask && <p class="bq-label">{words.question}</p>}
          {message.re !== undefined && <Quote message={quoted} />}
          {message.parts?.length ? <Attachments parts={message.parts} /> : null}
          {message.ask && (
            <>
              <Text text={message.text} />
              <Question question={message} answer={answer} user={user} answering={answering} onAnswer={deeds.onAnswer} />
            </>
          )}
          <div class="bq-line">
            {!message.ask && message.text !== "" && <Text text={message.text} />}
            {this.meta()}
          </div>
          {active && <Actions message={message} own={own} {...deeds} />}
        </div>
        {message.reactions && (
          <Reactions
            reactions={message.reactions}
            user={user}
            onReact={(emoji, on) => deeds.onReact(message, emoji, on)}
          />
        )}
      </>
    );
  }

  meta(): JSX.Element {
    const { message, own } = this.props;
    return (
      <p class="bq-meta">
        {this.props.void && <span class="bq-void">{words[this.props.void]}</span>}
        {message.edited !== undefined && !message.deleted && <span>{words.edited}</span>}
        <time dir="auto" dateTime={isoTime(message.at)} title={fullTime(message.at)}>
          {timeOf(message.at)}
        </time>
        {own && (
          <span class="bq-tick" title={words.sent}>
            <CheckIcon />
            <span class="bq-sr">{words.sent}</span>
          </span>
        )}
      </p>
    );
  }
}

interface PendingProps {
  readonly pending: Pending;
  /** Starts a group: what stands above is somebody else's. */
  readonly first: boolean;
  readonly onRetry: (cid: string) => void;
  readonly onDiscard: (cid: string) => void;
}

const WHAT = {
  "chat.send": "failed",
  "chat.edit": "editFailed",
  "chat.delete": "deleteFailed",
  "chat.react": "reactFailed",
} as const;

export function PendingItem({ pending, first, onRetry, onDiscard }: PendingProps): JSX.Element {
  const { cid, draft, at, state, error } = pending;
  const failed = state === "failed";
  const text = "text" in draft ? draft.text : "emoji" in draft ? draft.emoji : "";
  const parts = (draft.type === "chat.send" ? draft.parts : undefined) ?? [];
  return (
    <li class={`bq-row bq-own bq-last bq-pending${first ? " bq-first" : ""}`} data-row data-cid={cid}>
      <div class="bq-message">
        <div class="bq-column">
          {(text !== "" || parts.length > 0) && (
            <div class="bq-bubble">
              {parts.length > 0 && <Attachments parts={parts} />}
              <div class="bq-line">
                {text !== "" && <Text text={text} />}
                <p class="bq-meta">
                  {!failed && <span>{words.sending}</span>}
                  <time dir="auto" dateTime={isoTime(at)}>{timeOf(at)}</time>
                </p>
              </div>
            </div>
          )}
          {!failed && error !== undefined && <p class="bq-why">{reasonOf(error)}</p>}
          {failed && (
            <div class="bq-why bq-failed">
              <span dir="auto">
                {words[WHAT[draft.type]]}
                {error !== undefined && `: ${reasonOf(error)}`}
              </span>
              <button type="button" class="bq-link" onClick={() => onRetry(cid)}>
                {words.retry}
              </button>
              <button type="button" class="bq-link" onClick={() => onDiscard(cid)}>
                {words.discard}
              </button>
            </div>
          )}
        </div>
      </div>
    </li>
  );
}
