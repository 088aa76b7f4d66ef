/** The entry point of the notebook's widget: one source and one room per model, with any number of views.
 *
 * The default export is a factory: anywidget calls it once per model and gives `initialize` and `render` different
 * proxies of that model, so that only this closure connects the two.
 */

import { h, render } from "preact";
import { setLanguage } from "./i18n/strings";
import { initialState } from "./model/state";
import { newId } from "./protocol/ids";
import { Room } from "./room/room";
import type { Model } from "./transport/comm/commands";
import { fetchCode } from "./transport/comm/code";
import { CommSource } from "./transport/comm/source";
import { Chat } from "./view/chat";
import { loadClientId, loadName, loadRead, saveRead } from "./view/shared/storage";
import { addProgramLoader } from "./worker/worker-client";

export interface InitializeProps {
  readonly model: Model;
  readonly signal?: AbortSignal;
}

export interface RenderProps extends InitializeProps {
  readonly el: HTMLElement;
}

export default function widget() {
  let room: Room | null = null;
  let removeLoader = (): void => undefined;
  const text = (model: Model, name: string): string => {
    const value = model.get(name);
    return typeof value === "string" ? value : "";
  };

  function open(model: Model): Room {
    setLanguage(navigator.languages, document.documentElement.lang); // JupyterLab's language is in `lang`
    const clients = [loadClientId(), text(model, "_kernel_id")].filter((id) => id !== "");
    const name = text(model, "room_name");
    const state = initialState(name, loadName(text(model, "user")), clients, loadRead(name));
    const opened = new Room(new CommSource(model, newId()), state, (position) => saveRead(name, position));
    opened.start();
    removeLoader = addProgramLoader((name) => fetchCode(model, name));
    return opened;
  }

  return {
    initialize({ model, signal }: InitializeProps): () => void {
      room = open(model);
      const close = (): void => {
        room?.stop();
        removeLoader();
        room = null;
      };
      signal?.addEventListener("abort", close);
      return close;
    },

    render({ model, el, signal }: RenderProps): () => void {
      room ??= open(model);
      el.classList.add("bq-widget");
      render(h(Chat, { room, defaultName: text(model, "user") }), el);
      const remove = (): void => render(null, el);
      signal?.addEventListener("abort", remove);
      return remove;
    },
  };
}
