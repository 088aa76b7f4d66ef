/** A component in the document, removed after each test. */

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach } from "vitest";

let root: HTMLElement | null = null;

afterEach(() => {
  if (root === null) return;
  render(null, root);
  root.remove();
  root = null;
});

/** Renders `element`. Returns the element around it. */
export function draw(element: Parameters<typeof render>[0]): HTMLElement {
  const place = (root = document.body.appendChild(document.createElement("div")));
  void act(() => render(element, place));
  return place;
}
