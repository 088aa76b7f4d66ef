/** A row of the list: a message with its author, content and time. */

import { Component, type JSX } from "preact";
import { formatDateTime, formatTime, toIsoString } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { PendingDraft } from "../../model/pending";
import { Attachments } from "../attachments/attachments";
import { Poll } from "../questions/poll";
import { Question } from "../questions/question";
import { Avatar } from "../shared/avatar";
import { CheckIcon, PinIcon } from "../shared/icons";
import { mentions } from "../shared/mentions";
import { VerificationBadge, verificationTitle } from "../shared/verification-badge";
import { CellLink } from "./cell-link";
import { LiveState } from "./live-state";
import { MessageText } from "./message-text";
import { MessageToolbar, type MessageActions } from "./message-toolbar";
import { ProgressCard } from "./progress-card";
import { Quote } from "./quote";
import { Reactions } from "./reactions";
import type { Row } from "./rows";
import { Steps } from "./steps";

interface Props extends Row {
  readonly user: string;
  /** The reader may pin messages, and delete what others wrote. */
  readonly moderator: boolean;
  /** Pointed at, or focused: shows the toolbar. */
  readonly active: boolean;
  /** The reader went to it, by a link, a quote or a search. */
  readonly marked: boolean;
  /** An answer of the reader to this question is being sent. */
  readonly answering: boolean;
  /** The reader's last vote in this poll, if it is being sent or failed. */
  readonly vote: PendingDraft | null;
  readonly actions: MessageActions;
}

/** Rendered again only if one of its props has changed, so that a new message costs one row and not all. */
export class MessageItem extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return (Object.keys(next) as (keyof Props)[]).some((name) => next[name] !== this.props[name]);
  }

  render({ message, mine, program, verification, profile, startsGroup, day, unread }: Props): JSX.Element {
    return (
      <li
        class={this.classes()}
        data-row
        data-seq={message.seq}
        tabIndex={-1}
        aria-busy={message.live}
        {...(this.props.marked && { "aria-current": "location" as const })}
      >
        {day !== null && (
          <div class="bq-divider">
            <span>{day}</span>
          </div>
        )}
        {unread && (
          <div class="bq-divider bq-unread">
            <span>{strings.newMessages}</span>
          </div>
        )}
        <div class="bq-message">
          {startsGroup && !mine && <Avatar user={message.user} program={program !== null} profile={profile} />}
          <div class="bq-column">
            <p class={startsGroup && !mine ? "bq-author" : "bq-sr"}>
              <b dir="auto" title={verificationTitle(verification)}>
                {message.user}
              </b>
              {startsGroup && !mine && <VerificationBadge verification={verification} />}
              {profile?.name && (
                <span class="bq-alias" dir="auto">
                  {profile.name}
                </span>
              )}
              {program !== null && <span class="bq-badge">{strings.programs[program]}</span>}
            </p>
            {this.bubble()}
          </div>
        </div>
      </li>
    );
  }

  classes(): string {
    const { mine, startsGroup, endsGroup, timed, active, marked } = this.props;
    const optional = { own: mine, first: startsGroup, last: endsGroup, active, untimed: !timed, target: marked };
    const chosen = Object.entries(optional).flatMap(([name, chosen]) => (chosen ? [` bq-${name}`] : []));
    return `bq-row${chosen.join("")}`;
  }

  bubble(): JSX.Element {
    const { message, own, mine, moderator, user, active, actions } = this.props;
    if (message.deleted) {
      return (
        <div class="bq-bubble bq-deleted">
          <div class="bq-line">
            <p>{strings.deleted}</p>
            {this.meta()}
          </div>
        </div>
      );
    }
    const mentioned = !mine && mentions(message.text, user);
    return (
      <>
        <div class={`bq-bubble${message.ask ? " bq-question" : ""}${mentioned ? " bq-mentioned" : ""}`}>
          {mentioned && <span class="bq-sr">{strings.mentionsYou}</span>}
          {this.content()}
          {active && <MessageToolbar message={message} own={own} moderator={moderator} {...actions} />}
        </div>
        {message.reactions && (
          <Reactions reactions={message.reactions} user={user} onReact={(emoji, on) => actions.onReact(message, emoji, on)} />
        )}
      </>
    );
  }

  content(): JSX.Element {
    const { message, quoted, answer, endsAt, user, answering, vote, actions } = this.props;
    const above = (
      <>
        {message.re !== undefined && <Quote seq={message.re} message={quoted} onGo={actions.onGo} />}
        {message.cell !== undefined && <CellLink cell={message.cell} />}
        {message.parts?.length ? <Attachments attachments={message.parts} /> : null}
        {message.steps?.length ? <Steps steps={message.steps} live={message.live === true} /> : null}
      </>
    );
    const text = message.text === "" ? null : (
      <MessageText text={message.text} format={message.format} live={message.live === true} />
    );
    if (message.ask === undefined) {
      const state = (
        <>
          <LiveState message={message} stopping={this.props.stopping} onStop={actions.onStop} />
          {this.meta()}
        </>
      );
      return (
        <>
          {above}
          {message.progress === undefined ? (
            <div class={`bq-line${message.live || message.end ? " bq-written" : ""}`}>
              {text}
              {state}
            </div>
          ) : (
            <ProgressCard message={message}>{state}</ProgressCard>
          )}
        </>
      );
    }
    if (message.ask.poll) {
      return (
        <>
          <p class="bq-label">{strings.poll}</p>
          {above}
          {text}
          <Poll
            poll={message}
            endsAt={endsAt}
            user={user}
            vote={vote}
            meta={this.meta()}
            onVote={actions.onVote}
            onDiscard={actions.onDiscard}
          />
        </>
      );
    }
    return (
      <Question
        question={message}
        answer={answer}
        endsAt={endsAt}
        user={user}
        answering={answering}
        onAnswer={actions.onAnswer}
        meta={this.meta()}
      >
        {above}
        {text}
      </Question>
    );
  }

  meta(): JSX.Element {
    const { message, mine, rejectedAs } = this.props;
    return (
      <p class="bq-meta">
        {message.pinned !== undefined && (
          <span class="bq-tick" title={strings.pinned}>
            <PinIcon />
            <span class="bq-sr">{strings.pinned}</span>
          </span>
        )}
        {rejectedAs !== null && <span class="bq-rejected">{strings[rejectedAs]}</span>}
        {message.edited !== undefined && !message.deleted && <span>{strings.edited}</span>}
        <time dir="auto" dateTime={toIsoString(message.at)} title={formatDateTime(message.at)}>
          {formatTime(message.at)}
        </time>
        {mine && (
          <span class="bq-tick" title={strings.sent}>
            <CheckIcon />
            <span class="bq-sr">{strings.sent}</span>
          </span>
        )}
      </p>
    );
  }
}
