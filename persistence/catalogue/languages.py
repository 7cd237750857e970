"""Languages as the catalogue knows them: tag, own name, the name in typing sites' files, and direction."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from persistence.catalogue.entries import Direction


class Language(NamedTuple):
    """`tag`: BCP 47; `name`: what its speakers call it; `english`: what typing sites' files call it."""

    tag: str
    name: str
    english: str


_LANGUAGES = (
    Language("af", "Afrikaans", "afrikaans"),
    Language("sq", "Shqip", "albanian"),
    Language("ar", "العربية", "arabic"),
    Language("hy", "Հայերեն", "armenian"),
    Language("az", "Azərbaycanca", "azerbaijani"),
    Language("bn", "বাংলা", "bangla"),
    Language("eu", "Euskara", "basque"),
    Language("be", "Беларуская", "belarusian"),
    Language("bs", "Bosanski", "bosnian"),
    Language("bg", "Български", "bulgarian"),
    Language("ca", "Català", "catalan"),
    Language("zh-Hans", "简体中文", "chinese_simplified"),
    Language("zh-Hant", "繁體中文", "chinese_traditional"),
    Language("hr", "Hrvatski", "croatian"),
    Language("cs", "Čeština", "czech"),
    Language("da", "Dansk", "danish"),
    Language("nl", "Nederlands", "dutch"),
    Language("en", "English", "english"),
    Language("eo", "Esperanto", "esperanto"),
    Language("et", "Eesti", "estonian"),
    Language("fil", "Filipino", "filipino"),
    Language("fi", "Suomi", "finnish"),
    Language("fr", "Français", "french"),
    Language("gl", "Galego", "galician"),
    Language("ka", "ქართული", "georgian"),
    Language("de", "Deutsch", "german"),
    Language("el", "Ελληνικά", "greek"),
    Language("gu", "ગુજરાતી", "gujarati"),
    Language("he", "עברית", "hebrew"),
    Language("hi", "हिन्दी", "hindi"),
    Language("hu", "Magyar", "hungarian"),
    Language("is", "Íslenska", "icelandic"),
    Language("id", "Bahasa Indonesia", "indonesian"),
    Language("ga", "Gaeilge", "irish"),
    Language("it", "Italiano", "italian"),
    Language("ja", "日本語", "japanese"),
    Language("kn", "ಕನ್ನಡ", "kannada"),
    Language("kk", "Қазақша", "kazakh"),
    Language("km", "ខ្មែរ", "khmer"),
    Language("ko", "한국어", "korean"),
    Language("lo", "ລາວ", "lao"),
    Language("la", "Latina", "latin"),
    Language("lv", "Latviešu", "latvian"),
    Language("lt", "Lietuvių", "lithuanian"),
    Language("mk", "Македонски", "macedonian"),
    Language("ms", "Bahasa Melayu", "malay"),
    Language("ml", "മലയാളം", "malayalam"),
    Language("mr", "मराठी", "marathi"),
    Language("mn", "Монгол", "mongolian"),
    Language("my", "မြန်မာ", "burmese"),
    Language("ne", "नेपाली", "nepali"),
    Language("nb", "Norsk bokmål", "norwegian_bokmal"),
    Language("nn", "Norsk nynorsk", "norwegian_nynorsk"),
    Language("fa", "فارسی", "persian"),
    Language("pl", "Polski", "polish"),
    Language("pt", "Português", "portuguese"),
    Language("pa", "ਪੰਜਾਬੀ", "punjabi"),
    Language("ro", "Română", "romanian"),
    Language("ru", "Русский", "russian"),
    Language("sr", "Српски", "serbian"),
    Language("sk", "Slovenčina", "slovak"),
    Language("sl", "Slovenščina", "slovenian"),
    Language("es", "Español", "spanish"),
    Language("sw", "Kiswahili", "swahili"),
    Language("sv", "Svenska", "swedish"),
    Language("ta", "தமிழ்", "tamil"),
    Language("te", "తెలుగు", "telugu"),
    Language("th", "ไทย", "thai"),
    Language("tr", "Türkçe", "turkish"),
    Language("uk", "Українська", "ukrainian"),
    Language("ur", "اردو", "urdu"),
    Language("uz", "Oʻzbekcha", "uzbek"),
    Language("vi", "Tiếng Việt", "vietnamese"),
    Language("cy", "Cymraeg", "welsh"),
    Language("yi", "ייִדיש", "yiddish"),
)

_BY_TAG = {language.tag.lower(): language for language in _LANGUAGES}
_BY_ENGLISH_NAME = {language.english: language for language in _LANGUAGES}

# Languages that are written from right to left, by their usual script; and the scripts themselves, for tags that name
# one.
_RIGHT_TO_LEFT = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "syr", "ug", "ur", "yi"})
_RIGHT_TO_LEFT_SCRIPTS = frozenset({"adlm", "arab", "hebr", "mand", "nkoo", "rohg", "samr", "syrc", "thaa"})

# RFC 5646 §2.1, as far as tags of languages are in use: subtags of 1 to 8 letters and digits, the first the language.
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", re.IGNORECASE | re.ASCII)
MAX_TAG_CHARACTERS = 35  # RFC 5646 §4.4.1 asks for room for at least this many

TAG_RULE = 'a BCP 47 language tag of at most 35 characters, like "en", "pt-BR" or "zh-Hant"'
"""What `language_tag` takes, for error messages."""


def language_tag(text: str) -> str | None:
    """The tag in its usual spelling (`EN-gb` becomes `en-GB`, RFC 5646 §2.1.1), or None where it is none."""
    if len(text) > MAX_TAG_CHARACTERS or not _TAG.fullmatch(text):
        return None
    first, *others = text.lower().split("-")
    private = False
    tag = [first]
    for subtag in others:
        private = private or len(subtag) == 1
        if private:
            tag.append(subtag)
        elif len(subtag) == 2:
            tag.append(subtag.upper())
        elif len(subtag) == 4 and subtag.isalpha():
            tag.append(subtag.title())
        else:
            tag.append(subtag)
    return "-".join(tag)


def tag_of_site_name(name: str, bcp47: str | None = None) -> str | None:
    """The tag for a typing site's name: `german` is `de`, `english_1k` is `en-x-1k`, `code_python` `zxx-x-python`.

    What follows the language's name becomes a private subtag (RFC 5646 §2.2.7), so that `english` and `english_1k` stay
    two lists. `zxx` is the tag of no linguistic content. For a name that is unknown here `bcp47`, the file's own tag,
    serves; None where there is none either.
    """
    name = name.strip().lower().replace(" ", "_").replace("-", "_")
    if name.startswith("code_"):
        return _private("zxx", name.removeprefix("code_"))
    head, rest = name, ""
    while head:
        known = _BY_ENGLISH_NAME.get(head)
        if known is not None:
            return _private(known.tag, rest) if rest else known.tag
        head, _, tail = head.rpartition("_")
        rest = f"{tail}_{rest}" if rest else tail
    return None if bcp47 is None else language_tag(bcp47)


def _private(tag: str, name: str) -> str | None:
    """`tag` with the words of `name` as private subtags, each cut to the 8 characters that one may have."""
    subtags = [re.sub(r"[^a-z0-9]", "", _without_marks(word))[:8] for word in name.split("_")]
    subtags = [subtag for subtag in subtags if subtag]
    return language_tag(f"{tag}-x-{'-'.join(subtags)}") if subtags else None


def _without_marks(word: str) -> str:
    return "".join(
        character for character in unicodedata.normalize("NFD", word) if not unicodedata.combining(character)
    )


def name_of(tag: str) -> str:
    """What its speakers call a language, with its further subtags in brackets; the tag itself where it is unknown."""
    subtags = tag.split("-")
    for length in range(len(subtags), 0, -1):
        known = _BY_TAG.get("-".join(subtags[:length]).lower())
        if known is not None:
            rest = [subtag for subtag in subtags[length:] if subtag != "x"]
            return f"{known.name} ({' '.join(rest)})" if rest else known.name
    private = tag.partition("-x-")[2]
    return private.replace("-", " ") or tag


def direction_of(tag: str) -> Direction:
    """Which way a language is usually written: by the script that the tag names, else by the language's usual one."""
    first, *others = tag.lower().partition("-x-")[0].split("-")
    script = next((subtag for subtag in others if len(subtag) == 4 and subtag.isalpha()), None)
    if script is not None:
        return "rtl" if script in _RIGHT_TO_LEFT_SCRIPTS else "ltr"
    return "rtl" if first in _RIGHT_TO_LEFT else "ltr"
