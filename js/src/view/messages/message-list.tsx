/** The list of messages: renders the rows of a window onto it, and keeps the scroll position stable. */

import { Component, createRef, type JSX } from "preact";
import { strings } from "../../i18n/strings";
import { excerptOf, shownIn } from "../../model/excerpt";
import type { State, View } from "../../model/state";
import type { Room } from "../../room/room";
import { DownIcon } from "../shared/icons";
import { EmptyRoom } from "./empty-room";
import { MessageItem } from "./message-item";
import type { MessageActions } from "./message-toolbar";
import { PendingItem } from "./pending-item";
import { around, DEFAULT_ROWS, extendedDown, extendedUp, FOLLOW_LATEST, isFlood, pinned, rangeOf, rowsThatFit } from "./row-window";
import type { RowWindow } from "./row-window";
import { rowsOf } from "./rows";
import { Scroller } from "./scroller";

/** This close to either end of the rows, more are rendered or loaded. */
const PREFETCH_DISTANCE_PX = 600;
/** A flood ends after this time without new messages. */
const CALM_AFTER_MS = 120;

interface Props {
  readonly room: Room;
  readonly view: View;
  readonly state: State;
  readonly actions: MessageActions;
}

interface ListState {
  readonly window: RowWindow;
  readonly following: boolean;
  /** The newest message at the last rendering. */
  readonly newestSeq: number | null;
  /** False during a flood. */
  readonly calm: boolean;
  /** The seq of the row that is pointed at or focused. */
  readonly activeSeq: number | null;
  /** The message to which the reader went. */
  readonly target: { readonly seq: number } | null;
}

export class MessageList extends Component<Props, ListState> {
  override state: ListState = {
    window: FOLLOW_LATEST,
    following: true,
    newestSeq: null,
    calm: true,
    activeSeq: null,
    target: null,
  };
  readonly #element = createRef<HTMLDivElement>();
  readonly #list = createRef<HTMLOListElement>();
  #scroller: Scroller | null = null;
  readonly #unmounted = new AbortController();
  #floodTimer: ReturnType<typeof setTimeout> | undefined;
  #inView = true;
  /** The last row in the DOM is the newest message. */
  #atEnd = true;

  static override getDerivedStateFromProps({ state, view }: Props, before: ListState): Partial<ListState> {
    const { messages } = state;
    const { target } = excerptOf(state, view);
    const moved = target !== null && target !== before.target;
    return {
      newestSeq: messages.at(-1)?.seq ?? null,
      calm: before.calm && !isFlood(messages, before.newestSeq),
      target,
      ...(moved && { window: around(target.seq, shownIn(state, view).messages), following: false }),
    };
  }

  override componentDidMount(): void {
    const element = this.#element.current!;
    this.#scroller = new Scroller(element);
    this.#scroller.restore();
    const resize = new ResizeObserver(() => this.#restoreScroll());
    resize.observe(element);
    resize.observe(this.#list.current!);
    this.#atEnd = this.#reachesEnd();
    const intersection = new IntersectionObserver((entries) => {
      this.#inView = entries.at(-1)?.isIntersecting ?? false;
      this.#updateVisibility();
    });
    intersection.observe(element);
    this.#unmounted.signal.addEventListener("abort", () => {
      resize.disconnect();
      intersection.disconnect();
    });
    document.addEventListener("visibilitychange", this.#updateVisibility, { signal: this.#unmounted.signal });
    element.addEventListener("scroll", this.#onScroll, { passive: true, signal: this.#unmounted.signal });
  }

  override componentWillUnmount(): void {
    this.#unmounted.abort();
    clearTimeout(this.#floodTimer);
    this.props.room.setVisible(this.props.view, false);
    this.props.room.showLatest(this.props.view);
  }

  /** The reader may have scrolled since the last scroll event: take that over before the rows change. */
  override getSnapshotBeforeUpdate(): null {
    this.#scroller?.update(this.#atEnd);
    return null;
  }

  /** The messages to show, with what belongs to them. */
  get #shown(): State {
    return shownIn(this.props.state, this.props.view);
  }

  override componentDidUpdate(before: Props, { target }: ListState): void {
    const { state } = this.props;
    if (this.state.target !== null && this.state.target !== target) return this.#reveal(this.state.target.seq);
    const emptied = this.#shown.messages.length === 0 && before.state.messages.length > 0;
    if (before.state.epoch !== state.epoch || emptied) return this.jumpToLatest();
    const sent = state.pending.length > before.state.pending.length && state.pending.at(-1)?.draft.type === "chat.send";
    if (sent) return this.jumpToLatest();
    this.#restoreScroll();
    this.#extendRows();
    if (before.state.messages !== state.messages && !this.state.calm) {
      clearTimeout(this.#floodTimer);
      this.#floodTimer = setTimeout(() => this.setState({ calm: true }), CALM_AFTER_MS);
    }
  }

  /** Scrolls to the message to which the reader went, and focuses it. */
  #reveal(seq: number): void {
    const row = this.#list.current?.querySelector<HTMLElement>(`[data-seq="${seq}"]`);
    this.#atEnd = this.#reachesEnd();
    if (row != null) {
      this.#scroller?.reveal(row);
      row.focus({ preventScroll: true });
    }
    this.#updateVisibility();
    this.#extendRows();
  }

  /** Scrolls to the newest message, and follows it. */
  readonly jumpToLatest = (): void => {
    this.props.room.showLatest(this.props.view);
    if (this.state.window !== FOLLOW_LATEST || !this.state.following) this.setState({ window: FOLLOW_LATEST, following: true });
    this.#scroller?.follow();
    this.#updateVisibility();
  };

  #restoreScroll(): void {
    this.#atEnd = this.#reachesEnd();
    this.#scroller?.restore();
  }

  #reachesEnd(): boolean {
    const { messages } = this.#shown;
    return messages === this.props.state.messages && rangeOf(this.state.window, messages).end === messages.length;
  }

  readonly #updateVisibility = (): void => {
    const visible = document.visibilityState === "visible" && this.#inView;
    this.props.room.setVisible(this.props.view, visible && (this.#scroller?.following ?? false));
  };

  readonly #onScroll = (): void => {
    const scroller = this.#scroller;
    if (scroller === null) return;
    const { messages } = this.#shown;
    const { window, following } = this.state;
    if (!scroller.update(this.#atEnd)) return;
    if (scroller.following !== following) {
      const next = scroller.following ? FOLLOW_LATEST : pinned(window, messages);
      this.setState({ following: scroller.following, window: next });
      this.#updateVisibility();
    }
    this.#extendRows();
  };

  /** Adds rows near an end of the window; at an end of the list, loads more messages. */
  #extendRows(): void {
    const scroller = this.#scroller;
    const { room, view, state } = this.props;
    const { messages, complete, loaded, request } = this.#shown;
    const { window, following } = this.state;
    if (!scroller?.visible) return;
    const { start, end } = rangeOf(window, messages);
    if (scroller.fromTop < PREFETCH_DISTANCE_PX && start > 0 && !following) {
      this.setState({ window: extendedUp(window, messages) });
    } else if (scroller.fromEnd < PREFETCH_DISTANCE_PX && end < messages.length) {
      this.setState({ window: extendedDown(window, messages) });
    } else if (scroller.fromTop < PREFETCH_DISTANCE_PX && start === 0 && loaded && !complete && request === null) {
      if (!following || scroller.fromTop === 0) room.load(view, "older");
    } else if (scroller.fromEnd < PREFETCH_DISTANCE_PX && messages !== state.messages && request === null) {
      room.load(view, "newer");
    }
  }

  readonly #setActiveRow = (event: Event): void => {
    const row = (event.target as Element).closest<HTMLElement>("[data-seq]");
    const activeSeq = row === null ? null : Number(row.dataset.seq);
    if (activeSeq !== this.state.activeSeq) this.setState({ activeSeq });
  };

  /** Arrow keys move the focus through the messages. */
  readonly #moveFocus = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (target !== this.#element.current && !target.matches("[data-row]")) return;
    const rows = [...(this.#list.current?.querySelectorAll<HTMLElement>("[data-seq]") ?? [])];
    const index = rows.indexOf(target);
    const next = { ArrowUp: index < 0 ? rows.length - 1 : index - 1, ArrowDown: index + 1, Home: 0, End: rows.length - 1 }[
      event.key
    ];
    if (next === undefined || rows[next] === undefined) return;
    event.preventDefault();
    rows[next].focus();
  };

  render({ room, view, state: whole, actions }: Props, { window, activeSeq, following, calm, target }: ListState): JSX.Element {
    const state = shownIn(whole, view);
    const { messages, pending, complete, loaded, unread, user, principal } = state;
    const height = this.#element.current?.clientHeight ?? 0;
    const { start, end } = rangeOf(window, messages, calm ? DEFAULT_ROWS : rowsThatFit(height));
    const atEnd = messages === whole.messages && end === messages.length;
    const rows = rowsOf(state, start, end, Date.now());
    const drafts = pending.filter(({ draft, state }) => draft.type === "chat.send" || (state === "failed" && draft.type !== "chat.vote"));
    const answered = new Set(pending.map(({ draft, state }) => state === "sending" && "re" in draft && draft.re));
    const votes = new Map(pending.flatMap((each) => (each.draft.type === "chat.vote" ? [[each.draft.target, each]] : [])));
    return (
      <div class="bq-messages">
        <div
          class="bq-scroll"
          ref={this.#element}
          tabIndex={0}
          onKeyDown={this.#moveFocus}
          onMouseOver={this.#setActiveRow}
          onMouseLeave={() => this.setState({ activeSeq: null })}
          onFocusIn={this.#setActiveRow}
        >
          <div class="bq-top">
            {start === 0 && complete && messages.length > 0 && <p>{strings.roomStart(state.room)}</p>}
            {start === 0 && !complete && loaded && messages.length > 0 && <p>{strings.loadingOlder}</p>}
            {loaded && messages.length === 0 && drafts.length === 0 && (
              <EmptyRoom room={state.room} />
            )}
          </div>
          <ol class="bq-list" ref={this.#list} aria-label={strings.messages}>
            {rows.map((row) => (
              <MessageItem
                key={row.message.seq}
                {...row}
                user={principal ?? user}
                moderator={state.role === "moderate"}
                active={activeSeq === row.message.seq}
                marked={target?.seq === row.message.seq}
                answering={answered.has(row.message.seq)}
                vote={votes.get(row.message.seq) ?? null}
                actions={actions}
              />
            ))}
            {atEnd &&
              drafts.map((draft, index) => (
                <PendingItem
                  key={draft.cid}
                  pending={draft}
                  startsGroup={index === 0 && !rows.at(-1)?.mine}
                  onRetry={(cid) => room.retry(cid)}
                  onDiscard={(cid) => room.discard(cid)}
                />
              ))}
          </ol>
        </div>
        {!following && (
          <button type="button" class="bq-jump" onClick={this.jumpToLatest}>
            <DownIcon />
            {strings.jumpToLatest}
            {unread.count > 0 && (
              <span class="bq-count" aria-hidden="true">
                {unread.count > 99 ? "99+" : unread.count}
              </span>
            )}
          </button>
        )}
      </div>
    );
  }
}
