/** The icons, drawn in the colour of the text and hidden from screen readers. */

import type { JSX } from "preact";

const icon = (path: string) =>
  function Icon(): JSX.Element {
    return (
      <svg class="bq-icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
        <path d={path} />
      </svg>
    );
  };

export const SendIcon = icon("M12 19V5.5M5.5 12 12 5.5l6.5 6.5");
export const TextIcon = icon("M6 8V5.5h12V8M12 5.5v13M9.5 18.5h5");
export const SearchIcon = icon("M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20");
export const ShareIcon = icon("M12 15V4M8 7.5 12 3.5l4 4M5 12.5v7h14v-7");
export const DownIcon = icon("M12 5v13.5M5.5 12 12 18.5l6.5-6.5");
export const CheckIcon = icon("m5 12.5 4.5 4.5L19 7.5");
export const VerifiedIcon = icon("m8.5 12 2.5 2.5 4.5-5M12 3.5l6.5 2.5v5c0 4.5-2.5 7.5-6.5 9.5-4-2-6.5-5-6.5-9.5V6z");
export const ReplyIcon = icon("M9.5 6 4 11.5 9.5 17M4.5 11.5H14a6 6 0 0 1 6 6v1");
export const EditIcon = icon("m4.5 19.5 1-4.5L16 4.5l3.5 3.5L9 18.5zM13.5 7l3.5 3.5");
export const DeleteIcon = icon("M5 7h14M9.5 7V4.5h5V7M7 7l1 12.5h8L17 7");
export const ReactIcon = icon(
  "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM8.5 14c1.8 2.6 5.2 2.6 7 0M9 9.5v.5M15 9.5v.5",
);
export const MoreIcon = icon("M6 12h.01M12 12h.01M18 12h.01");
export const PeopleIcon = icon(
  "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 19.5c0-3.5 2.5-5.5 6-5.5s6 2 6 5.5M15.5 5a3.2 3.2 0 0 1 0 6.2M17 14.3c2.5.6 4 2.4 4 5.2",
);
export const BellIcon = icon("M6.5 16.5c1-1 1.5-2.5 1.5-6a4 4 0 0 1 8 0c0 3.5.5 5 1.5 6zM10.5 19.5h3");
export const ShieldIcon = icon("M12 3.5l6.5 2.5v5c0 4.5-2.5 7.5-6.5 9.5-4-2-6.5-5-6.5-9.5V6z");
export const SpeechIcon = icon("M5 5.5h14a1.5 1.5 0 0 1 1.5 1.5v8.5A1.5 1.5 0 0 1 19 17h-7l-4.5 3.5V17H5a1.5 1.5 0 0 1-1.5-1.5V7A1.5 1.5 0 0 1 5 5.5z");
export const ExpandIcon = icon("m6 9.5 6 6 6-6");
export const StopIcon = icon("M7 7h10v10H7z");
export const CloseIcon = icon("m6.5 6.5 11 11m0-11-11 11");
export const FileIcon = icon("M7 3.5h7l4 4v13H7zM14 3.5v4h4");
export const AttachIcon = icon(
  "m19.5 11.5-7.6 7.6a4.6 4.6 0 0 1-6.5-6.5l8-8a3.1 3.1 0 0 1 4.4 4.4l-7.9 7.9a1.5 1.5 0 0 1-2.2-2.2l7.2-7.1",
);
export const PinIcon = icon("M9 4h6M10 4v6.5L6.5 14v1.5h11V14L14 10.5V4M12 15.5V21");
export const LinkIcon = icon("M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 1 0-5.7-5.7l-1.2 1.2M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 1 0 5.7 5.7l1.2-1.2");
export const CellIcon = icon("M4.5 6h15v12h-15zM8 10l2.5 2L8 14M12.5 14.5h4");
export const BackIcon = icon("M14.5 5.5 8 12l6.5 6.5");
export const TabIcon = icon("M5 5.5h14v13H5zM5 9.5h14M11 5.5v4");
export const SidePanelIcon = icon("M4.5 5.5h15v13h-15zM10 5.5v13");
export const FindIcon = icon("M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l4.5 4.5");
