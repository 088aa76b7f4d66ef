/** Keeps the scroll position stable: either the newest message stays in view, or the one being read does not move.
 *
 * After every change of the rows or the size, `restore` scrolls to the bottom or to the anchor. The browser's own
 * scroll anchoring is off: it differs between browsers and loses removed rows.
 */

/** This close to the end counts as the end: browsers round, and readers stop a little before it. */
const END_TOLERANCE_PX = 24;

export class Scroller {
  /** Whether to keep the newest message in view. */
  following = true;
  readonly #element: HTMLElement;
  #anchor: { readonly element: HTMLElement; readonly offset: number } | null = null;
  #top = 0;
  #height = 0;
  /** How far the reader has scrolled up since following; each piece of a live message moves them back meanwhile. */
  #lifted = 0;

  constructor(element: HTMLElement) {
    this.#element = element;
  }

  get fromTop(): number {
    return this.#element.scrollTop;
  }

  get fromEnd(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#element;
    return scrollHeight - scrollTop - clientHeight;
  }

  get visible(): boolean {
    return this.#element.clientHeight > 0;
  }

  /** Takes over the position that the reader scrolled to. Returns false if the browser moved it instead.
   *
   * `atEnd`: the last row is the newest message.
   */
  update(atEnd: boolean): boolean {
    const { scrollTop, clientHeight } = this.#element;
    // Hidden, or visible again at another size: `restore` comes next.
    if (clientHeight === 0 || clientHeight !== this.#height) return false;
    const { following, fromEnd } = this;
    const up = this.#top - scrollTop;
    if (!following) this.following = atEnd && fromEnd <= (up < -1 ? END_TOLERANCE_PX : 1);
    else if (!atEnd) this.following = false;
    else if (up > 1 && fromEnd > 1) this.following = (this.#lifted += up) <= END_TOLERANCE_PX;
    if (this.following !== following || up < -1) this.#lifted = 0;
    // Without a movement the anchor stays, and `restore` moves the rows back to it.
    if (Math.abs(scrollTop - this.#top) >= 0.5 || following !== this.following) this.#saveAnchor();
    return true;
  }

  /** Scrolls to `row`, with a part of what is before it. */
  reveal(row: HTMLElement): void {
    const { clientHeight } = this.#element;
    this.following = false;
    this.#element.scrollTop += this.#offset(row) - Math.max(0, clientHeight - row.offsetHeight) / 3;
    this.#saveAnchor();
  }

  follow(): void {
    this.following = true;
    this.#lifted = 0;
    this.restore();
  }

  restore(): void {
    const element = this.#element;
    if (element.clientHeight === 0) return;
    if (this.following) {
      // What an empty room shows begins at its top.
      element.scrollTop = element.querySelector("[data-row]") === null ? 0 : element.scrollHeight;
    } else if (this.#anchor?.element.isConnected) {
      const { element: anchor, offset } = this.#anchor;
      const moved = this.#offset(anchor) - offset;
      if (Math.abs(moved) >= 0.5) element.scrollTop += moved;
      // At the top it cannot scroll as far until more rows are rendered: the anchor stays.
      if (Math.abs(this.#offset(anchor) - offset) >= 1) return this.#saveGeometry();
    }
    this.#saveAnchor();
  }

  #saveGeometry(): void {
    this.#top = this.#element.scrollTop;
    this.#height = this.#element.clientHeight;
  }

  /** Saves the position of what is at the top of the view; not while following, which does not need it. */
  #saveAnchor(): void {
    this.#saveGeometry();
    this.#anchor = null;
    if (this.following) return;
    const row = this.#firstVisible(this.#element.querySelectorAll<HTMLElement>("[data-row]"));
    // The block of its text, because what is above that in a live message may be folded or grow. Otherwise the bubble,
    // because the day and the name above it depend on the row before.
    const block = row && this.#firstVisible(row.querySelectorAll<HTMLElement>(".bq-written > .bq-text > *"));
    const anchor = block ?? row?.querySelector<HTMLElement>(".bq-bubble") ?? row;
    if (anchor !== undefined) this.#anchor = { element: anchor, offset: this.#offset(anchor) };
  }

  /** The first of `elements`, which are below each other, that is not above the view. */
  #firstVisible(elements: NodeListOf<HTMLElement>): HTMLElement | undefined {
    let low = 0;
    let high = elements.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const element = elements[middle]!;
      if (this.#offset(element) + element.offsetHeight <= 0) low = middle + 1;
      else high = middle;
    }
    return elements[low];
  }

  #offset(row: HTMLElement): number {
    return row.getBoundingClientRect().top - this.#element.getBoundingClientRect().top;
  }
}
