/** The window in a notebook: one source and one store per model, and as many views of them as are shown.
 *
 * A factory, not an object: anywidget calls it once per model, and hands `initialize` and `render`
 * different proxies of that model, so only this closure connects the two.
 */

import { h, render } from "preact";
import { newId, Room } from "./room/room";
import { CommSource, type Model } from "./transport/comm-source";
import { initial } from "./model/state";
import { Chat } from "./view/chat";
import { rememberedName } from "./view/shared/storage";
import { speak } from "./i18n/strings";

interface InitializeProps {
  readonly model: Model;
  readonly signal?: AbortSignal;
}

interface RenderProps extends InitializeProps {
  readonly el: HTMLElement;
}

export default function widget() {
  let room: Room | null = null;
  const text = (model: Model, name: string): string => {
    const value = model.get(name);
    return typeof value === "string" ? value : "";
  };

  function open(model: Model): Room {
    speak([document.documentElement.lang, ...navigator.languages]); // JupyterLab says its own there
    const state = initial(text(model, "room_name"), rememberedName(text(model, "user")));
    const opened = new Room(new CommSource(model, newId()), state);
    opened.start();
    return opened;
  }

  return {
    initialize({ model, signal }: InitializeProps): () => void {
      room = open(model);
      const close = (): void => {
        room?.stop();
        room = null;
      };
      signal?.addEventListener("abort", close);
      return close;
    },

    render({ model, el, signal }: RenderProps): () => void {
      room ??= open(model);
      el.classList.add("bq-widget");
      render(h(Chat, { room, given: text(model, "user") }), el);
      const remove = (): void => render(null, el);
      signal?.addEventListener("abort", remove);
      return remove;
    },
  };
}
