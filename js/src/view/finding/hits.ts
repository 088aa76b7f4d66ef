/** Where the words of a search are in a text, as the server finds them: without case, accents and width. */

export interface Segment {
  readonly text: string;
  readonly hit: boolean;
}

/** Of a result's text. */
const MAX_SNIPPET_CHARACTERS = 180;
/** Before the first hit. */
const CONTEXT_CHARACTERS = 40;

/** Words of these scripts have no spaces around them. */
const WITHOUT_SPACES = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;
const ENDS_IN_WORD = /[\p{L}\p{N}]$/u;
const BEGINS_IN_WORD = /^[\p{L}\p{N}]/u;

/** Letters that NFKD leaves as they are. */
const PLAIN_LETTERS: Readonly<Record<string, string>> = { ß: "ss", đ: "d", ħ: "h", ı: "i", ł: "l", ø: "o", æ: "ae", œ: "oe" };

const fold = (text: string): string =>
  text
    .normalize("NFKD")
    .replace(/[\p{M}\p{Cf}\u0640]/gu, "")
    .toLowerCase()
    .replace(/[ßđħıłøæœ]/g, (letter) => PLAIN_LETTERS[letter]!);

/** `text` in one line around its first hit, in segments that are hits and segments between them. */
export function snippet(text: string, query: string): Segment[] {
  const line = text.replace(/\s+/g, " ").trim();
  const hits = hitsIn(line, query);
  const from = startOf(line, hits[0]?.[0] ?? 0);
  const to = endOf(line, from + MAX_SNIPPET_CHARACTERS);
  const segments: Segment[] = [];
  let at = from;
  for (const [start, end] of hits) {
    if (end > to) break;
    segments.push({ text: line.slice(at, start), hit: false }, { text: line.slice(start, end), hit: true });
    at = end;
  }
  segments.push({ text: line.slice(at, to), hit: false });
  if (from > 0) segments.unshift({ text: "…", hit: false });
  if (to < line.length) segments.push({ text: "…", hit: false });
  return segments.filter(({ text }) => text !== "");
}

/** A word's beginning a little before the hit. */
function startOf(line: string, hit: number): number {
  if (hit <= CONTEXT_CHARACTERS * 1.5) return 0;
  const near = hit - CONTEXT_CHARACTERS;
  const space = line.indexOf(" ", near);
  return space === -1 || space >= hit ? endOf(line, near) : space + 1;
}

/** `index`, but not inside a character of two units. */
const endOf = (line: string, index: number): number => (/[\udc00-\udfff]/.test(line[index] ?? "") ? index + 1 : index);

/** The ranges of the words of `query` in `text`, in order and apart from each other. The last word may be a beginning. */
function hitsIn(text: string, query: string): [number, number][] {
  const [folded, indices] = foldWithIndices(text);
  const words = fold(query).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const found = words.flatMap((word, index) => occurrences(folded, word, index === words.length - 1));
  const hits: [number, number][] = [];
  for (const [start, end] of found.sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
    const last = hits.at(-1);
    if (last === undefined || indices[start]! >= last[1]) hits.push([indices[start]!, indices[end]!]);
  }
  return hits;
}

/** `text` folded, and for each of its units the index of the character in `text` that it comes from. */
function foldWithIndices(text: string): [string, number[]] {
  let folded = "";
  const indices: number[] = [];
  let at = 0;
  for (const character of text) {
    const units = fold(character);
    for (const _ of Array(units.length)) indices.push(at);
    folded += units;
    at += character.length;
  }
  return [folded, [...indices, at]];
}

function occurrences(folded: string, word: string, isBeginning: boolean): [number, number][] {
  const found: [number, number][] = [];
  const anywhere = WITHOUT_SPACES.test(word);
  for (let at = folded.indexOf(word); at !== -1; at = folded.indexOf(word, at + 1)) {
    const end = at + word.length;
    const isWord = !ENDS_IN_WORD.test(folded.slice(0, at)) && (isBeginning || !BEGINS_IN_WORD.test(folded.slice(end)));
    if (anywhere || isWord) found.push([at, end]);
  }
  return found;
}
