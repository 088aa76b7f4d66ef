/** What the window says in English: the catalogue that every other language is measured by. */

const number = new Intl.NumberFormat("en");
const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);

export const en = {
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
    `${number.format(over)} ${plural(over, "character", "characters")} too many: the limit is ${number.format(limit)}`,
  notSent: "Nothing can be sent from here now: your text is kept",

  connecting: "Connecting…",
  loading: "Loading messages…",
  connected: "Connected",
  offline: "Offline",
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
  verified: "verified by the server",
  unverified: "not verified",
  asserted: "The name as it was given: the server has not verified it",
  edited: "edited",
  deleted: "This message was deleted",
  sending: "Sending…",
  sent: "Sent",
  failed: "Not sent",
  editFailed: "Edit not saved",
  deleteFailed: "Not deleted",
  reactFailed: "Reaction not saved",
  quoteGone: "an earlier message",
  mentionsYou: "mentions you",
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
  people: "People here",
  kernelsBusy: (count: number) => (count === 1 ? "kernel busy" : `${count} kernels busy`),
  busy: "busy",
  idle: "idle",
  isTyping: "typing…",
  copyLink: "Copy link",
  address: "The room's address",
  typing: (users: readonly string[]) =>
    users.length > 2 ? "Several people are typing…" : `${users.join(" and ")} ${plural(users.length, "is", "are")} typing…`,
  announce: (count: number, user: string, text: string) =>
    count === 1 ? `${user}: ${text}` : `${count} new messages. The last, from ${user}: ${text}`,

  opening: "Opening the room…",
  /** What stands before and after `room.invite()`. */
  inviteWanted: [
    "You need an invite link to come in. Ask somebody who is in the room for one: in a notebook, ",
    " makes it.",
  ] as readonly [string, string],
  unreachable: "The server can't be reached just now: open the link again",
  answeredWith: (status: number) => `The server answered ${status}`,

  /** Why something was refused, by the server's code; what is missing here is said in the server's own words. */
  refusals: {
    full: "The server is full",
    too_many_connections: "Too many connections from your address",
  } as Readonly<Record<string, string>>,
};

/** A key of `en` is a key of every catalogue: the compiler asks for what is missing. */
export type Words = typeof en;
