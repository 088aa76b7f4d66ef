/** Finds lines that were not meant as Markdown: code, commands and their output, tracebacks, YAML, diffs, aligned columns.
 *
 * They are shown exactly as typed. A run of such lines starts at a line that is clearly code (or at a comment directly
 * above one) and goes on with what belongs to it: indented lines, comments, closing brackets, more code.
 */

import { maskMath } from "./math";

const MAX_LINE = 500;

/** From here to the next blank line everything belongs to it, such as a command's output. */
const STICKY = [
  /^\s*Traceback \(most recent call last\):/,
  /^\s*File "[^"]+", line \d+/,
  /^(?:>>>|\.\.\.) \S/,
  /^(?:[\w.-]+@[\w.-]+:\S*)?\$ [a-z~./]/,
  /^\([\w.-]+\) (?:[\w.-]+@[\w.-]+:\S*)?\$ /,
  /^PS [A-Z]:\\[^>]*> /,
  /^(?:In|Out) ?\[\d*\]: /,
  /^[*|\\/ ]*\* +[0-9a-f]{7,40}\b/,
  /^(?:diff --git |@@ -\d|--- a\/|\+\+\+ b\/|<{7} )/,
  /^%%[a-z]\w*(?:\s|$)/,
];

/** A traceback of several exceptions, or of IPython's frames, has blank lines in it. */
const TRACEBACK = /^\s*Traceback \(most recent call last\):/;
const MORE_TRACEBACK = /^(?:\s*(?:-+> )?\d+ +\S|\s+File |During handling of|The above exception|Traceback|File |Cell In|[\w.]+(?:Error|Exception|Warning|Interrupt|Exit)\b)/;

const NAME = String.raw`\$?[A-Za-z_][\w.$]*(?:\[[^\]\n]*\])?`;
const TYPE = String.raw`(?:let|const|var|auto|int|float|double|char|long|bool|static|final|public|private|export|set)\s+`;
const ASSIGNMENT = new RegExp(
  String.raw`^\s*(?:${TYPE})*[*&]*${NAME}(?:\s*:\s*[\w.[\], |]+?)?(?:\s*,\s*\*?${NAME})*\s*(?:[-+*/%&|^@:]|\*\*|//|<<|>>|<)?[=](?![=~>])\s*(.*)$`,
);
const CALL = /^\s*(?:await |return |yield |del |assert )?[A-Za-z_][\w.]*\((?!\*\*)[^\n]*\)[;:]?(?:\s*#.*)?$/;

const STATEMENTS = [
  /^\s*(?:import [\w.]+(?: as \w+)?(?:, ?[\w.]+)*|from [\w.]+ import \S.*)$/,
  /^\s*(?:async )?def \w+\(|^\s*class \w+(?:\(.*\))?:|^\s*(?:function|func|fn) \w*\(|^\s*raise \w+(?:\(|$)/,
  /^\s*(?:#include [<"]|#define |#!|using namespace |package \w+;?$)/,
  /^\s*(?:SELECT .+|INSERT INTO .+|UPDATE \S+ SET .+|DELETE FROM .+|CREATE (?:TABLE|INDEX|VIEW) .+)$/,
  /^\s*(?:[\w.]+\.)?\w*(?:Error|Exception|Warning|KeyboardInterrupt|SystemExit)(?:: .*|\s{2,}.*)$/,
  /^\s*-+> \d+ |^\s*at [\w.<>$]+ ?\(.*:\d+/,
  /^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d/,
  /^\s*[│├└┌┐┘─╔╚║|+]?[│├└┌┐┘─╔╚║]/,
  /^[|` ]*[|`]-- \S/,
  /^\s*\+[-=+]{3,}\+\s*$/,
  /^\s*"[^"\n]+"\s*:\s*\S|^\s*[[{]\s*$|^\s*\{.*"[^"\n]+"\s*:/,
  /^\s*(?:[\w)>"'\]]+ )*[\w)>"'\]]+ ?(?:=>)? ?\{\s*$/,
  /^\s*[^\s;][^;]*[(=*>][^;]*;\s*$/,
  /^\s*[})\]]+[;,)]*\s*$/,
];

/** Only if the next line is indented: "for example:" is prose. */
const COMPOUND = /^\s*(?:async )?(?:for|while|if|elif|else|with|try|except|finally|match|case|switch|do)\b.*[:{]\s*(?:#.*)?$/;

const ALWAYS_COMMANDS = "ls|rm|cp|mv|cd|grep|egrep|rg|git|pip|pip3|uv|uvx|conda|mamba|npm|npx|docker|kubectl|chmod|chown|mkdir|sudo|ssh|scp|rsync|curl|wget|awk|sed|tar|export|apt|apt-get|brew|bqserver|jupyter|python|python3|pytest";
const ENGLISH_COMMANDS = "find|cat|head|tail|sort|cut|make|kill|which|time|test|touch|less|more|echo|source|watch|for|node|go|cargo";
const COMMANDS = [
  // A command and an option, a path, a glob, a pipe or a variable.
  new RegExp(String.raw`^\s*[!%]{0,2}(?:${ALWAYS_COMMANDS}) (?=.*(?:(?:^|\s)--?\w|[/*|>$~=]|\.\w))\S`),
  new RegExp(String.raw`^\s*[!%]{0,2}(?:${ENGLISH_COMMANDS}) (?=.*(?:\s--?\w|\S\/|\s\/|\$\w|\*\.\w|\s\| ))\S`),
  /^\s*%[a-z]\w*(?:\s|$)/,
];

const COMMENT = /^\s*(?:#+|\/\/|--|;;|%)(?:\s|$)/;
/** Belongs to the code directly below it. */
const LEAD = /^\s*(?:@[\w.]+(?:\(.*\))?|\[[\w.-]+\]|---)\s*$/;
const CONTINUES = /^\s*(?:\|.*\||(?:FROM|WHERE|GROUP BY|ORDER BY|JOIN|LEFT JOIN|INNER JOIN|LIMIT|HAVING|VALUES|SET)\b.*|.*\\)\s*$/;
const INDENTED_BLOCK = /^(?: {4}| {0,3}\t)[ \t]*\S/;
const FENCE = /^ {0,3}(?:`{3}|~{3})/;
const BLANK = /^[ \t]*$/;

const YAML_KEY = /^\s*(?:- +)?[A-Za-z_"'][\w.\-/"']*:(?:\s.*)?$/;
const YAML_LINE = /^\s*(?:- .*|-|#.*|[A-Za-z_"'][\w.\-/"']*:(?:\s.*)?)$/;
const DIFF_LINE = /^[-+ ]/;
/** Several spaces between two words, but not after the end of a sentence. */
const COLUMNS = /[^\s.!?:] {2,}\S/;
const TABLE_OR_LIST = /^\s*(?:[*+-]|\d{1,9}[.)]|>|#{1,6}) /;

/** The length of the run of such lines at the start of `src`; 0 if there is none.
 *
 * `interrupting`: the line before is prose, so that an indented line continues it.
 */
export function typedLength(src: string, interrupting = false): number {
  const first = firstLine(src);
  if (BLANK.test(first) || FENCE.test(first)) return 0;
  if (!interrupting && INDENTED_BLOCK.test(first)) return extent(linesOf(src), 1);
  if (!couldStart(first)) return 0;
  const lines = linesOf(src);
  if (isFrontMatter(lines)) return lengthOf(lines, lines.indexOf("---", 1) + 1);
  let start = 0;
  while (start < lines.length && (COMMENT.test(lines[start]!) || LEAD.test(lines[start]!))) start += 1;
  if (isCode(lines, start)) return extent(lines, start);
  if (start > 0) {
    const only = (pattern: RegExp): boolean => lines.slice(0, start).every((line) => pattern.test(line));
    return (start > 1 && only(/^#(?: |$)/)) || only(/^\s*\/\//) ? lengthOf(lines, start) : 0;
  }
  const chunk = lines.slice(0, lines.findIndex((line) => BLANK.test(line)) >>> 0);
  if (isYaml(chunk) || isDiff(chunk) || isSequence(chunk)) return lengthOf(lines, chunk.length);
  return columns(lines);
}

/** A cheap filter: most lines are prose. */
const couldStart = (line: string): boolean => line.length <= MAX_LINE && /[^\p{L}\p{M}\p{N}\s,.!?'’-]|\d{4}-| {2}|\d|[A-Z]{6}|^\s*[-+a-z]/u.test(line);

function isCode(lines: readonly string[], index: number): boolean {
  const line = lines[index];
  if (line === undefined || line.length > MAX_LINE || BLANK.test(line)) return false;
  if (STICKY.some((pattern) => pattern.test(line)) || STATEMENTS.some((pattern) => pattern.test(line))) return true;
  if (COMMANDS.some((pattern) => pattern.test(line))) return true;
  if (COMPOUND.test(line)) return /^[ \t]+(?![-*+] )\S/.test(lines[index + 1] ?? "");
  if (maskMath(line) !== line) return false;
  const value = ASSIGNMENT.exec(line)?.[1];
  return (value !== undefined && value !== "" && !isProse(value)) || (CALL.test(line) && !isProse(line));
}

/** Three words in a row, outside strings and comments, that are no keywords. */
function isProse(code: string): boolean {
  const words = code
    .replace(/"[^"]*"|'[^']*'/g, "0")
    .replace(/(?:#|\/\/).*$/, "")
    .replace(/\b(?:for|in|if|else|not|is|and|or|lambda|None|True|False|await|yield|from|new|return)\b/g, "0");
  return /\p{L}{2,} \p{L}{2,} \p{L}{2,}/u.test(words);
}

/** From the `start` lines that are known to belong to the run to its end. */
function extent(lines: readonly string[], start: number): number {
  let sticky = false;
  let traceback = false;
  let end = start;
  for (let index = Math.max(start - 1, 0); index < lines.length; index += 1) {
    const line = lines[index]!;
    if (BLANK.test(line)) {
      const next = lines.findIndex((each, at) => at > index && !BLANK.test(each));
      if (next < 0) break;
      const more = traceback ? MORE_TRACEBACK.test(lines[next]!) : /^(?: {2}|\t)/.test(lines[next]!) || isCode(lines, next);
      if (!more || FENCE.test(lines[next]!)) break;
      sticky = false;
      index = next - 1;
      continue;
    }
    if (FENCE.test(line)) break;
    sticky ||= STICKY.some((pattern) => pattern.test(line));
    traceback ||= TRACEBACK.test(line);
    const belongs = index < start || sticky || /^[ \t]/.test(line) || COMMENT.test(line) || CONTINUES.test(line) || LEAD.test(line);
    if (!belongs && !isCode(lines, index)) break;
    end = index + 1;
  }
  return lengthOf(lines, end);
}

function isYaml(chunk: readonly string[]): boolean {
  return (
    YAML_KEY.test(chunk[0] ?? "") &&
    /^[a-z_]/.test(chunk[0]!) &&
    chunk.some((line) => /^\s+\S/.test(line)) &&
    chunk.filter((line) => YAML_KEY.test(line)).length >= 2 &&
    areYaml(chunk)
  );
}

/** Apart from the blocks of text in it, which follow a `|` or a `>`. */
function areYaml(lines: readonly string[]): boolean {
  let block = Infinity;
  return lines.every((line) => {
    const indent = line.search(/\S|$/);
    if (indent > block) return true;
    block = /[|>][-+]?\s*$/.test(line) ? indent : Infinity;
    return YAML_LINE.test(line);
  });
}

function isFrontMatter(lines: readonly string[]): boolean {
  const between = lines.slice(1, lines.indexOf("---", 1) >>> 0);
  return lines[0] === "---" && between.length < lines.length - 1 && YAML_KEY.test(between[0] ?? "") && areYaml(between.filter((line) => !BLANK.test(line)));
}

/** Of FASTA, whose first line would be a quote. */
const isSequence = (chunk: readonly string[]): boolean => /^>\S/.test(chunk[0] ?? "") && /^[A-Z*-]{6,}$/.test(chunk[1] ?? "");

const isDiff = (chunk: readonly string[]): boolean =>
  chunk.every((line) => DIFF_LINE.test(line)) && ["-", "+"].every((sign) => chunk.some((line) => line.startsWith(sign)));

/** The length of two or more lines of aligned columns, as a printed data frame has. */
function columns(lines: readonly string[]): number {
  const is = (line: string): boolean => COLUMNS.test(line) && !TABLE_OR_LIST.test(line) && !line.includes("|");
  let end = 0;
  while (end < lines.length && is(lines[end]!)) end += 1;
  return end < 2 ? 0 : lengthOf(lines, end);
}

const firstLine = (src: string): string => {
  const end = src.indexOf("\n");
  return end < 0 ? src : src.slice(0, end);
};
const linesOf = (src: string): string[] => src.split("\n");
const lengthOf = (lines: readonly string[], count: number): number =>
  lines.slice(0, count).reduce((length, line) => length + line.length, 0) + Math.max(count - 1, 0);
