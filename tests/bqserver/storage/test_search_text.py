"""Every language is searched by its words, with both engines alike."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from bqserver.model import Submission
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.search_text import searchable
from bqserver.storage.sqlite.log import SqliteLog

from bqwidget.protocol import Send

TEXTS: list[tuple[str, list[str], list[str]]] = [
    # a text, what finds it, and what does not
    ("ผมอยู่ที่กรุงเทพมหานคร ประเทศไทย", ["กรุงเทพ", "ประเทศ", "ไทย"], ["ลาว"]),
    ("ប្រទេសកម្ពុជា ភ្នំពេញ", ["កម្ពុជា", "ភ្នំពេញ"], []),
    ("ພາສາລາວແລະວຽງຈັນ", ["ລາວ", "ວຽງຈັນ"], []),
    ("မြန်မာနိုင်ငံ ရန်ကုန်", ["မြန်မာ", "ရန်ကုန်", "နိုင်ငံ"], []),
    ("मुझे हिन्दी में लिखना पसंद है", ["हिन्दी", "लिखना", "हिन्"], ["चीनी"]),
    ("আমি বাংলায় গান গাই", ["বাংলায়", "গান"], []),
    ("தமிழ் மொழி அழகானது", ["தமிழ்", "மொழி"], []),
    ("السلام عليكم ورحمة الله", ["السلام", "عليكم"], ["مرحبا"]),
    ("اَلسَّلَامُ عَلَيْكُمْ", ["السلام", "عليكم"], []),
    ("ـــ مـــرحـــبـــا", ["مرحبا"], []),
    ("שָׁלוֹם עולם", ["שלום", "עולם"], []),
    ("Καλημέρα κόσμε, ΟΔΟΣ", ["καλημερα", "κόσμε", "οδοσ", "οδος"], []),
    ("Straße in Köln, Größe", ["strasse", "straße", "koln", "größe", "grosse"], []),
    ("İstanbul'da ISPARTA ve ılık", ["istanbul", "isparta"], []),
    ("ﬁnal ﬂow oﬃce", ["final", "flow", "office"], []),
    ("ＦＵＬＬ　ｗｉｄｔｈ　１２３", ["full", "width", "123"], []),
    ("ﾃｽﾄを実行", ["テスト", "実行"], []),
    ("がぎぐ", ["がぎ", "か\u3099ぎ"], []),
    ("cafe\u0301 na\u0131ve résumé", ["café", "cafe", "resume"], []),
    ("Việt Nam đất nước Đà Nẵng", ["viet", "nuoc", "nẵng", "đà", "dat"], []),
    ("한국어 처리와 한글", ["한국", "한글", "처리"], ["중국"]),
    ("한글", ["한글"], []),
    ("我家在上海东边", ["上海", "东边", "上"], ["北京"]),
    ("𠮷野家で食べた", ["𠮷野家", "食べ"], []),
    ("日本語のテキスト検索", ["検索", "テキスト", "日本語の"], []),
    ("ქართული ენა", ["ქართული"], []),
    ("Հայերեն լեզու", ["հայերեն"], []),
    ("Русский ЁЖИК", ["русский", "ежик", "ёжик"], []),
    ("አማርኛ ቋንቋ", ["አማርኛ"], []),
    ("ᠮᠣᠩᠭᠣᠯ", ["ᠮᠣᠩᠭᠣᠯ"], []),
    ("བོད་ཡིག", ["བོད", "ཡིག"], []),
    ("සිංහල භාෂාව", ["සිංහල"], []),
    ("x² ½ ℃ µm Å Ω", ["x2", "μm", "Å", "ω"], []),
    ("emoji 🎉🎊 party 👩‍🔬", ["🎉", "party"], []),
    ("snake_case camelCase kebab-case v1.2.3 foo.bar()", ["snake_case", "camelcase", "kebab", "foo.bar"], []),
    ("lr=3e-4 C++ C# .NET", ["3e-4", "lr"], []),
    ("zero\u200bwidth soft\u00adhyphen nb\u00a0sp", ["zerowidth", "softhyphen", "nb"], []),
]


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_words_of_every_language_are_found(engine: str, tmp_path: Path) -> None:
    async def main() -> None:
        log: MessageLog = MemoryLog() if engine == "memory" else SqliteLog(tmp_path / "log.sqlite")
        await log.append([Submission("lobby", "ada", Send(cid="", user="ada", text=text)) for text, _, _ in TEXTS])
        for text, finds, others in TEXTS:
            for words in (*finds, *others):
                found = [json.loads(body)["text"] for body in await log.search("lobby", words, limit=50)]
                assert (text in found) == (words in finds), (words, text)
        assert await log.search("lobby", "\u064e", limit=50) == []  # a vowel sign alone
        await log.close()

    asyncio.run(main())


def test_letters_that_differ_stay_different() -> None:
    assert searchable("か") != searchable("が")
    assert searchable("हिन्दी") != searchable("हनद")
    assert searchable("在上海 now").split() == ["在", "上", "海", "now"]
    assert searchable("Naïve, Don't 1.5") == "naive, don't 1.5"
