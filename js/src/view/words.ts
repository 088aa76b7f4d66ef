/** Every word the window says, in one place, so that another language is one more object like `en`. */

const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);

const en = {
  region: (room: string) => `Chat room ${room}`,
  messages: "Messages",
  message: "Message",
  placeholder: (room: string) => `Message ${room}`,
  yourName: "Your name",
  you: "You are",
  send: "Send",
  save: "Save",
  cancel: "Cancel",
  retry: "Retry",
  discard: "Discard",
  jump: "Jump to latest",
  nameFirst: "Write your name first, so that the others know who speaks",
  tooLong: (over: number, limit: number) =>
    `${over.toLocaleString()} ${plural(over, "character", "characters")} too many: the limit is ${limit.toLocaleString()}`,
  notSent: "Nothing can be sent from here now: your text is kept",

  connecting: "Connecting…",
  loading: "Loading messages…",
  connected: "Connected",
  offline: "Offline",
  offlineHint: "Offline. What you send goes out when the connection is back",
  nextTry: (seconds: number) => `next try in ${seconds} s`,
  trying: "trying now",
  waiting: (count: number) => `${count} ${plural(count, "message waits", "messages wait")}`,
  kernelBusy: "Kernel busy, queued",
  kernelGone: "Disconnected: run the cell again",
  closed: "Room closed",

  today: "Today",
  yesterday: "Yesterday",
  fresh: "New",
  start: (room: string) => `This is the beginning of ${room}`,
  empty: "Nothing here yet. Say hello!",
  earlier: "Loading earlier messages…",
  kernel: "kernel",
  edited: "edited",
  deleted: "This message was deleted",
  sending: "Sending…",
  sent: "Sent",
  failed: "Not sent",
  editFailed: "Edit not saved",
  deleteFailed: "Not deleted",
  reactFailed: "Reaction not saved",
  quoteGone: "an earlier message",
  showAll: "Show all",
  showLess: "Show less",
  code: "Code",
  copy: "Copy",
  copied: "Copied",

  question: "Question",
  answer: "Answer",
  yourAnswer: "Your answer",
  onlyFrom: (user: string) => `Only ${user} may answer`,
  until: (time: string) => `open until ${time}`,
  answeredBy: (user: string, answer: string) => `${user} answered: ${answer}`,
  answered: "Answered",
  expired: "Expired without an answer",
  late: "late answer",
  second: "already answered",

  actions: "Message actions",
  reply: "Reply",
  edit: "Edit",
  remove: "Delete",
  react: "React",
  reacted: (emoji: string, users: readonly string[]) => `${emoji} ${users.length}: ${users.join(", ")}`,
  replyingTo: (user: string) => `Replying to ${user}`,
  editing: "Editing your message",

  members: (count: number) => `${count} here`,
  typing: (users: readonly string[]) =>
    users.length > 2 ? "Several people are typing…" : `${users.join(" and ")} ${plural(users.length, "is", "are")} typing…`,
  announce: (count: number, user: string, text: string) =>
    count === 1 ? `${user}: ${text}` : `${count} new messages. The last, from ${user}: ${text}`,
};

export type Words = typeof en;
export const words: Words = en;
