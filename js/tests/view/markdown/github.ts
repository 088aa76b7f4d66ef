/** Markdown and what GitHub makes of it in a comment, without attributes that carry no meaning; `|` is a line break.
 *
 * `ours`, with a reason, where the window differs on purpose.
 */

export interface Case {
  readonly text: string;
  readonly github: string;
  readonly ours?: string;
  readonly because?: string;
}

const same = (text: string, github: string): Case => ({ text, github });
const differs = (text: string, github: string, ours: string, because: string): Case => ({ text, github, ours, because });

export const CASES: readonly Case[] = [
  // Paragraphs and line breaks
  same("one", "<p>one</p>"),
  same("one\ntwo", "<p>one<br>two</p>"),
  same("one\n\ntwo", "<p>one</p><p>two</p>"),
  same("one  \ntwo", "<p>one<br>two</p>"),
  differs("one\\\ntwo", "<p>one<br>two</p>", "<p>one\\<br>two</p>", "a backslash at the end of a line continues a command"),
  // Emphasis
  same("*em* and _em_", "<p><em>em</em> and <em>em</em></p>"),
  same("**strong** and __very strong__", "<p><strong>strong</strong> and <strong>very strong</strong></p>"),
  same("***both***", "<p><em><strong>both</strong></em></p>"),
  same("**strong *and em* in it**", "<p><strong>strong <em>and em</em> in it</strong></p>"),
  same("_em **and strong** in it_", "<p><em>em <strong>and strong</strong> in it</em></p>"),
  same("~~deleted~~ text", "<p><del>deleted</del> text</p>"),
  same("(*em*), “**strong**”: *em*!", "<p>(<em>em</em>), “<strong>strong</strong>”: <em>em</em>!</p>"),
  same("**两个**字 and これは**強調**です", "<p><strong>两个</strong>字 and これは<strong>強調</strong>です</p>"),
  same("**+12 %** and **-3**", "<p><strong>+12 %</strong> and <strong>-3</strong></p>"),
  same("*a\nb*", "<p><em>a<br>b</em></p>"),
  same(String.raw`\*not em\* and snake\_case`, "<p>*not em* and snake_case</p>"),
  differs("un*frigging*believable", "<p>un<em>frigging</em>believable</p>", "<p>un*frigging*believable</p>", "an operator between names"),
  differs("__init__", "<p><strong>init</strong></p>", "<p>__init__</p>", "a name in Python; a word can be set in **bold**"),
  differs("~one~", "<p><del>one</del></p>", "<p>~one~</p>", "a single tilde is a home folder, or means about"),
  differs("*.py*", "<p><em>.py</em></p>", "<p>*.py*</p>", "a glob"),
  differs(String.raw`C:\_a`, "<p>C:_a</p>", String.raw`<p>C:\_a</p>`, "a backslash in a path is no escape"),
  // Code
  same("`code` and ``a ` b``", "<p><code>code</code> and <code>a ` b</code></p>"),
  same("`a*b*c`", "<p><code>a*b*c</code></p>"),
  same("```py\nx = 1\n\ny = 2\n```", "<pre><code>x = 1<br><br>y = 2</code></pre>"),
  same("~~~\na\n~~~", "<pre><code>a</code></pre>"),
  same("text\n```\ncode\n```\nmore", "<p>text</p><pre><code>code</code></pre><p>more</p>"),
  same("```\n  indented\n```", "<pre><code>  indented</code></pre>"),
  differs("    a\n      b", "<pre><code>a<br>  b</code></pre>", "<pre>    a<br>      b</pre>", "an indented block keeps its spaces"),
  // Headings and rules
  same("# one", "<h1>one</h1>"),
  same("## two", "<h2>two</h2>"),
  same("### three\ntext", "<h3>three</h3><p>text</p>"),
  same("#### four ####", "<h4>four</h4>"),
  same("##### five", "<h5>five</h5>"),
  same("###### six", "<h6>six</h6>"),
  same("####### seven", "<p>####### seven</p>"),
  same("# one\n## two", "<h1>one</h1><h2>two</h2>"),
  same("# a *b* `c`", "<h1>a <em>b</em> <code>c</code></h1>"),
  same("Title\n=====", "<h1>Title</h1>"),
  same("Title\n---\n\ntext", "<h2>Title</h2><p>text</p>"),
  same("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
  same("a\n\n***\n\nb", "<p>a</p><hr><p>b</p>"),
  differs("text\n# done", "<p>text</p><h1>done</h1>", "<p>text<br># done</p>", "a comment below a line; a heading follows a blank line"),
  differs("x = 1\n# done", "<p>x = 1</p><h1>done</h1>", "<pre>x = 1<br># done</pre>", "a comment in code"),
  differs("# a\n# b", "<h1>a</h1><h1>b</h1>", "<pre># a<br># b</pre>", "a comment of several lines"),
  differs("a\nb\n---", "<h2>a<br>b</h2>", "<p>a<br>b<br>---</p>", "a line drawn under a text of several lines"),
  // Lists
  same("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
  same("* a\n* b", "<ul><li>a</li><li>b</li></ul>"),
  same("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
  same("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
  same("1) a\n2) b", "<ol><li>a</li><li>b</li></ol>"),
  same("1. a\n1. b", "<ol><li>a</li><li>b</li></ol>"),
  same("- a\n  - b\n  - c\n- d", "<ul><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ul>"),
  same("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
  same("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
  same("- a\n  more\n- b", "<ul><li>a<br>more</li><li>b</li></ul>"),
  same("- a\n  ```\n  x\n  ```\n- b", "<ul><li>a<pre><code>x</code></pre></li><li>b</li></ul>"),
  same("Todo:\n- a\n- b", "<p>Todo:</p><ul><li>a</li><li>b</li></ul>"),
  same("- [ ] open\n- [x] done", "<ul><li>[ ] open</li><li>[x] done</li></ul>"),
  same("- **a**: `b`\n- [c](https://d.org)", '<ul><li><strong>a</strong>: <code>b</code></li><li><a href="https://d.org/">c</a></li></ul>'),
  differs("- a\n- b\nafter", "<ul><li>a</li><li>b<br>after</li></ul>", "<ul><li>a</li><li>b</li></ul><p>after</p>", "the line after a list does not join it"),
  differs("3. a\n7. b", '<ol start="3"><li>a</li><li>b</li></ol>', '<ol start="3"><li value="3">a</li><li value="7">b</li></ol>', "numbers stay those that were typed"),
  differs("1986. A great year", '<ol start="1986"><li>A great year</li></ol>', "<p>1986. A great year</p>", "a sentence; a list has two items"),
  differs("see you\n- Ada", "<p>see you</p><ul><li>Ada</li></ul>", "<p>see you<br>- Ada</p>", "one dash below a line is a signature, or a minus"),
  // Quotes
  same("> a\n> b", "<blockquote><p>a<br>b</p></blockquote>"),
  same("> a\n>> b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
  same("> > > a", "<blockquote><blockquote><blockquote><p>a</p></blockquote></blockquote></blockquote>"),
  same("> - a\n> - b", "<blockquote><ul><li>a</li><li>b</li></ul></blockquote>"),
  same("> a\n>\n> b\n\nc", "<blockquote><p>a</p><p>b</p></blockquote><p>c</p>"),
  same(">a", "<blockquote><p>a</p></blockquote>"),
  differs("> a\nb", "<blockquote><p>a<br>b</p></blockquote>", "<blockquote><p>a</p></blockquote><p>b</p>", "the line after a quote does not join it"),
  differs(">5 min", "<blockquote><p>5 min</p></blockquote>", "<p>&gt;5 min</p>", "a comparison"),
  // Links
  same("[a](https://b.org/c)", '<p><a href="https://b.org/c">a</a></p>'),
  same("<https://b.org/c>", '<p><a href="https://b.org/c">https://b.org/c</a></p>'),
  same("see https://b.org/c_d_e, or www.f.org.", '<p>see <a href="https://b.org/c_d_e">https://b.org/c_d_e</a>, or <a href="http://www.f.org/">www.f.org</a>.</p>'),
  same("me@b.org", '<p><a href="mailto:me@b.org">me@b.org</a></p>'),
  same("[**a**](https://b.org)", '<p><a href="https://b.org/"><strong>a</strong></a></p>'),
  same("(https://b.org/c_(d))", '<p>(<a href="https://b.org/c_(d)">https://b.org/c_(d)</a>)</p>'),
  differs("![a](https://b.org/c.png)", "<p><img></p>", '<p><a href="https://b.org/c.png">a</a></p>', "an image would ask a server that its author chose"),
  differs("[a]: https://b.org", "", '<p>[a]: <a href="https://b.org/">https://b.org</a></p>', "nothing that was said is hidden"),
  differs("https://b.org/c。d", '<p><a href="https://b.org/c%E3%80%82d">https://b.org/c。d</a></p>', '<p><a href="https://b.org/c">https://b.org/c</a>。d</p>', "an address ends before CJK punctuation"),
  same("https://例え.jp/パス, http://пример.рф", '<p><a href="https://xn--r8jz45g.jp/%E3%83%91%E3%82%B9">https://例え.jp/パス</a>, <a href="http://xn--e1afmkfd.xn--p1ai/">http://пример.рф</a></p>'),
  same("www.例え.jp", '<p><a href="http://www.xn--r8jz45g.jp/">www.例え.jp</a></p>'),
  differs("https://b.org/c، d", '<p><a href="https://b.org/c%D8%8C">https://b.org/c،</a> d</p>', '<p><a href="https://b.org/c">https://b.org/c</a>، d</p>', "an address ends before a comma, of any script"),
  differs("«https://b.org/c».", '<p>«<a href="https://b.org/c%C2%BB">https://b.org/c»</a>.</p>', '<p>«<a href="https://b.org/c">https://b.org/c</a>».</p>', "and before a quotation mark"),
  differs(">", "<blockquote></blockquote>", "<p>&gt;</p>", "nothing that was said is hidden"),
  // Tables
  same("| a | b |\n|---|---|\n| 1 | 2 |", "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>"),
  same(
    "a | b | c\n:-- | :-: | --:\n*1* | `2` | 3",
    '<table><thead><tr><th align="left">a</th><th align="center">b</th><th align="right">c</th></tr></thead>' +
      '<tbody><tr><td align="left"><em>1</em></td><td align="center"><code>2</code></td><td align="right">3</td></tr></tbody></table>',
  ),
  same("| a |\n|---|", "<table><thead><tr><th>a</th></tr></thead></table>"),
  same("| a \\| b |\n|---|\n| c |", "<table><thead><tr><th>a | b</th></tr></thead><tbody><tr><td>c</td></tr></tbody></table>"),
  same("text\n| a |\n|---|\n| b |", "<p>text</p><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>"),
  same("| a | b |", "<p>| a | b |</p>"),
  differs(
    "| a |\n|---|\n| b |\nafter",
    "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr><tr><td>after</td></tr></tbody></table>",
    "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table><p>after</p>",
    "the line after a table does not join it",
  ),
  // HTML
  differs("<b>a</b> &amp; &copy;", "<p><b>a</b> &amp; ©</p>", "<p>&lt;b&gt;a&lt;/b&gt; &amp;amp; &amp;copy;</p>", "all HTML is text"),
];
