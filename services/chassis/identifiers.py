"""Identifiers: when two written values mean the same one, and which never identify anybody.

The rules are those of the semantics, section 6: trimmed; e-mail lower-cased with the domain in its
IDNA form, and it must look like an address; phone in E.164; every other kind letter for letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import phonenumbers
import re2
from email_validator import EmailNotValidError, validate_email

KIND_BYTES_MAX = 32
VALUE_BYTES_MAX = 1_024
EMAIL_BYTES_MAX = 254
EMAIL_LOCAL_BYTES_MAX = 64
CACHE_VALUES_MAX = 100_000

KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What the name of a kind looks like."""

BLOCKED = frozenset(
    ("", "null", "none", "undefined", "nan", "n/a", "unknown", "anonymous", "-1", "true", "false")
)
"""Values that never identify, in lower case; neither does anything of zeroes and dashes only."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ZEROES = re.compile(r"[0-]+")
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-z]{{2,63}}")


class BadIdentifier(ValueError):
    """A value that cannot identify; `code` is for programs, the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Normaliser:
    """Brings identifiers of one tenant into their normal form; pure, with a cache.

    country: ISO code for phone numbers without a leading +; empty refuses them. blocked: further
    values that never identify, whatever their case. patterns: RE2, matched against the whole
    trimmed value.
    """

    def __init__(
        self, country: str = "", blocked: Iterable[str] = (), patterns: Iterable[str] = ()
    ) -> None:
        self.country = country.upper()
        self.blocked = BLOCKED | {value.strip().lower() for value in blocked}
        self.patterns = [re2.compile(pattern) for pattern in patterns]
        self._cache: dict[tuple[str, str], str | BadIdentifier] = {}

    def normal(self, kind: str, value: str) -> str:
        """The normal form; BadIdentifier when the value cannot identify anybody.

        Codes: bad_identifier_kind, identifier_too_long, blocked_identifier, bad_email, bad_phone.
        normal(kind, normal(kind, value)) is normal(kind, value).
        """
        known = self._cache.get((kind, value))
        if known is None:
            try:
                known = self._decided(kind, value)
            except BadIdentifier as refusal:
                known = refusal
            if len(self._cache) >= CACHE_VALUES_MAX:
                self._cache.clear()
            self._cache[kind, value] = known
        if isinstance(known, BadIdentifier):
            raise BadIdentifier(known.code, str(known))
        return known

    def _decided(self, kind: str, value: str) -> str:
        if not KIND.fullmatch(kind):
            raise BadIdentifier(
                "bad_identifier_kind",
                "an identifier's kind is 1 to 32 of a-z, 0-9 and '_', beginning with a letter, "
                "such as user_id",
            )
        if len(value.encode()) > VALUE_BYTES_MAX:
            raise BadIdentifier(
                "identifier_too_long",
                f"an identifier's value is at most {VALUE_BYTES_MAX} bytes; send a shorter one",
            )
        value = value.strip()
        self._refuse_blocked(value)
        if kind == "email":
            normal = _email(value)
        elif kind == "phone":
            normal = self._phone(value)
        else:
            return value
        if normal != value:
            # What the form of the kind removed may have hidden a blocked value.
            self._refuse_blocked(normal)
        return normal

    def _refuse_blocked(self, value: str) -> None:
        lower = value.lower()
        if (
            lower in self.blocked
            or _ZEROES.fullmatch(lower)
            or (self.patterns and any(pattern.fullmatch(value) for pattern in self.patterns))
        ):
            raise BadIdentifier(
                "blocked_identifier",
                "this value stands for nobody in particular; leave the identifier out",
            )

    def _phone(self, value: str) -> str:
        if _is_plain_phone(value):
            return value
        try:
            number = phonenumbers.parse(value, self.country or None)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_possible_number(number):
            raise BadIdentifier(
                "bad_phone",
                "not a telephone number; send it with + and the country code, such as +44…",
            )
        return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _is_plain_phone(value: str) -> bool:
    """Whether a number is in E.164 already, told from the library's own tables.

    Ten times quicker than parsing: with + and a country code nothing changes unless the national
    part begins with what the country dials before it. A property holds this against the library.
    """
    if not _E164.fullmatch(value):
        return False
    for digits in (2, 3, 4):
        code = int(value[1:digits])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            lengths, prefix = _national_plan(code)
            national = value[digits:]
            return len(national) in lengths and not (prefix and prefix.match(national))
    return False


@lru_cache(maxsize=512)
def _national_plan(code: int) -> tuple[frozenset[int], re.Pattern[str] | None]:
    """(possible lengths of the national part, what is stripped from its front) of a country."""
    region = phonenumbers.region_code_for_country_code(code)
    plan = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if plan is None or plan.general_desc is None:
        return frozenset(), None
    prefix = plan.national_prefix_for_parsing
    lengths = frozenset(plan.general_desc.possible_length)
    return lengths, re.compile(prefix) if prefix else None


def _email(value: str) -> str:
    """The normal form of an address; plain ASCII ones are recognised without the library."""
    lower = value.lower()
    if len(lower) <= EMAIL_BYTES_MAX and lower.isascii() and _EMAIL.fullmatch(lower):
        return lower
    refusal = BadIdentifier(
        "bad_email", "not an e-mail address; send name@domain without a display name"
    )
    if len(value) > EMAIL_BYTES_MAX:
        raise refusal
    try:
        # Special domains (.test, .local) are addresses too: nothing is delivered here.
        found = validate_email(
            value, strict=True, check_deliverability=False, globally_deliverable=False
        )
    except (EmailNotValidError, UnicodeError):
        raise refusal from None
    domain = found.ascii_domain.lower()
    if "." not in domain:
        raise refusal
    return f"{unicodedata.normalize('NFC', found.local_part.lower())}@{domain}"
