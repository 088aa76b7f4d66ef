"""Texts as they are searched: the forms of a letter are alike, and every language has words. Pure.

Chinese, Japanese, Korean and other scripts without spaces between words are searched character by character, as phrases,
so that words inside a text are found; so are emoji.
"""

from __future__ import annotations

import re
import unicodedata

_WITHOUT_SPACES = re.compile(
    "[\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff"
    "\u3100-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U000323af]"
)
"""A character of a script without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean."""

_EMOJI = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_MARKS = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f"
    "\u2060\u20d0-\u20ff\ufe00-\ufe2f\ufeff]"
)
"""What people leave out: accents, the vowels of Hebrew and Arabic, and what is invisible. The vowels of Indian scripts and
the marks of Thai and of Japanese are part of a word.
"""
_WITHOUT_STROKES = str.maketrans({"đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe"})


def searchable(text: str) -> str:
    """``text`` as it is indexed and searched for.

    Example: ``searchable("ＧＰＵ在上海") == "gpu 在  上  海 "``
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    plain = unicodedata.normalize("NFKC", _MARKS.sub("", folded)).translate(_WITHOUT_STROKES)
    return _EMOJI.sub(lambda found: f" u{ord(found[0]):x} ", _WITHOUT_SPACES.sub(r" \g<0> ", plain))
