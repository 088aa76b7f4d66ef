/** Texts that were not meant as Markdown: the window shows them as typed. */

export const UNCHANGED: Readonly<Record<string, string>> = {
  "an operator": "2*3*4",
  "operators in a sentence": "so 2*3*4 = 24 and x*y*z too",
  "powers": "2**3**4 is not 2**12",
  "spaced operators": "2 * 3 * 4 and a _ b _ c",
  "a dunder name": "__init__",
  "dunder names": "call __init__ and __main__, or __repr__() of self.__dict__",
  "a dunder file": "see pkg/__init__.py and __main__.py",
  "a guard": 'if __name__ == "__main__": main()',
  "private names": "_fit sets coef_ and classes_, _predict reads them",
  "snake case": "my_long_name and another_long_name_ here",
  "arguments": "def f(*args, **kwargs): g(*args, **kwargs)",
  "pointers": "char *p = *q; int **argv, *x;",
  "a glob": "ls *.py and *.js, then rm -rf build/*/tmp/*",
  "globs of folders": "**/node_modules/** and src/**/*.ts and **/*.py",
  "a glob in quotes": 'find . -name "*test*" -o -name "*spec*"',
  "a regular expression": String.raw`^\s*(\d+)\.\d*\s+\[.*\]\*$`,
  "a Windows path": String.raw`C:\new_data\_raw\*.csv and \\server\share_1\x`,
  "a home folder": "~/data and ~user, about ~5 or ~6 of ~10~",
  "generics": "Map<String, List<T>> and Vec<_> and <T>",
  "markup": "<b>bold</b> and <br/> &amp; &lt;x&gt; &#42;y&#42;",
  "an address with underscores": "https://example.org/a_b_c/_x_/d*e*f?q=__g__",
  "mail with underscores": "write to first_last_name@example.org or _a_b@x.org",
  "a year": "1986. A great year",
  "a date in German": "24. Dezember passt mir",
  "a club": "1. FC Köln",
  "an answer": "42. That is the answer.",
  "a version": "3.11. and 3.12. are tested",
  "less and greater": ">5 minutes, >= 3, <3 and x > y",
  "a face": ">:( or >.< or >_<",
  "more faces": "*_* and (*_*) and ^_^ and *~* and **_**",
  "arrows alone": "> \n>>",
  "a cell of bash": "%%bash\necho *a* _b_\n# done\nls -l",
  "a file from a cell": "%%writefile notes.md\n# Title\n- a\n- b",
  "a merge conflict": "<<<<<<< HEAD\nlr = *a*\n=======\nlr = _b_\n>>>>>>> main",
  "a merge conflict after a sentence": "It says:\n<<<<<<< HEAD\n- a\n- b\n\n=======\nc\n>>>>>>> main",
  "comments with emphasis": "// TODO: *x* and _y_\n// *z*",
  "money": "$5 and $10, or US$5 and US$10",
  "money and words": "it costs $5, or 10$ each",
  "shell variables": "echo $HOME/$USER ${A}/${B} $A$B $$",
  "slang for money": "earn $$ and spend $$",
  "a hash tag": "#python and #42 and C# and F#",
  "a shebang": "#!/usr/bin/env python",
  "rows of dashes": "--- or ----- or ***",
  "a censored word": "what the f**k s***t ****",
  "footnotes": "price* and cost** apply (*only on Mondays)",
  "a backslash": String.raw`a \ b \n \t \. \- done`,
  "a shell command": "$ git commit -m \"Fix *all* __things__\"\n[main 1a2b3c] Fix *all* __things__\n 1 file changed, 2 insertions(+)",
  "a command and its continuation": "docker run --rm \\\n    -v ~/data:/data \\\n    image:latest *args*",
  "a traceback": `Traceback (most recent call last):
  File "/home/ada/train.py", line 12, in <module>
    main(*args, **kwargs)
  File "/home/ada/train.py", line 8, in main
    model.__init__(x_*y_)
    ~~~~~~~~~~~~~~^^^^^^^
ValueError: shapes (3,) and (4,) *differ*`,
  "a traceback of two exceptions": `Traceback (most recent call last):
  File "a.py", line 1, in <module>
    {}["x"]
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
    raise ValueError("*bad*")
ValueError: *bad*`,
  "a traceback after a sentence": `It fails like this:
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    __x__ * __y__
NameError: name '__x__' is not defined`,
  "a traceback and a table": `Traceback (most recent call last):
  File "a.py", line 1, in <module>
ValueError: x

      loss    acc
0   0.2100   0.91`,
  "IPython's traceback": `---------------------------------------------------------------------------
NameError                                 Traceback (most recent call last)
Cell In[1], line 1
----> 1 foo * __bar__ * baz

NameError: name 'foo' is not defined`,
  "a function": `def area(r):
    # done
    return 3.14 * r * r * __scale__


def volume(r):
    return area(r) * r`,
  "code and a comment below": "x = load()\n# done\ny = x * 2 * z",
  "a comment above code": "# load the data\ndf = pd.read_csv(\"a_b_c.csv\")",
  "comments": "# the first line\n# of a comment\n# of three",
  "a comment after prose": "ran the cell\n# done",
  "a loop": "for i in range(3):\n    print(i, *xs)",
  "a Python session": ">>> 2**3**2\n512\n>>> print(*[1, 2], sep='_')\n1_2",
  "a notebook's cells": "In [3]: a*b*c\nOut[3]: 24",
  "YAML": `name: ci
on: [push]
jobs:
  test:
    runs-on: ubuntu
    steps:
      - uses: actions/checkout
      - run: pytest -k "*slow*"`,
  "YAML with a list": "dependencies:\n  - numpy=1.*\n  - pandas\nname: env",
  "TOML": "[tool.ruff]\nline-length = 120\nselect = [\"*\"]",
  "JSON": '{\n  "a_b": "*x*",\n  "c": [1, 2]\n}',
  "a diff": "- old_name = *x*\n+ new_name = *x*\n  same",
  "a unified diff": "--- a/f.py\n+++ b/f.py\n@@ -1,2 +1,2 @@\n-x = 1\n+x = 2",
  "a printed data frame": "      loss    acc\n0   0.2100   0.91\n1   0.1900   0.92\n10  0.1500   0.94",
  "a folder's tree": "src\n├── __init__.py\n│   └── _a_.py\n└── b.py",
  "an ASCII table": "+----+------+\n| id | name |\n+----+------+\n|  1 | _a_  |\n+----+------+",
  "a log": "2024-01-02 10:00:00 INFO  loaded *3* files\n2024-01-02 10:00:01 WARN  __slow__",
  "SQL": "SELECT * FROM a_b WHERE x * y > 2 AND name LIKE '*_x'\nORDER BY a",
  "C": "#include <stdio.h>\nint main(void) {\n    char *s = *t * *u;\n    return 0;\n}",
  "an indented block": "    two\n      more *stars* here\n    two again",
  "spaces and tabs": "a\tb   c\n  d *  e  * f\n\tg",
  "blank lines": "one\n\n\ntwo\n\nthree",
  "arithmetic in lines": "5\n- 3\n= 2",
  "a signature": "see you\n- Ada",
  "a cell magic": "%%timeit\nx*y*z",
  "a schedule": "09:00 - 10:00 talk_1 / talk_2\n10:00 - 11:00 *",
  "a link that is none": "arr[i](x) and f[0](y) and [x] [y](z)",
  "unfinished markup": "**not closed and `neither and [this](",
  "Chinese with an address": "见 https://example.org/a_b。然后*继续",
};
