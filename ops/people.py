"""Who the people of the population are: names, addresses, languages, what they are known by.

Invariants:
- A person is a function of the seed and their number: the others do not matter.
- Nobody real: emails lie in domains reserved for examples (RFC 2606), phone numbers in ranges that the
  numbering authorities reserve for fiction, or there is none.
"""

from __future__ import annotations

import unicodedata
from random import Random
from typing import Any, NamedTuple

# Numbers below belong to people with a name of their own (Ada Byron is 4711).
FIRST_NUMBER = 5001


class Country(NamedTuple):
    """Where people live: how they are called, where, and what they pay with.

    Each of `phones` has a place for the digits, and lies in a range reserved for fiction.
    """

    code: str
    currency: str
    # What 1.00 EUR costs, in minor units of the currency, times 100.
    price_percent: int
    zoneinfo: str
    locales: tuple[str, ...]
    phones: tuple[str, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    streets: tuple[str, ...]


def _country(
    code: str, currency: str, price_percent: int, zoneinfo: str, locales: str, *, phones: str = "",
    given: str, family: str, places: str, streets: str,
) -> Country:  # fmt: skip
    """A country from lists as they read best: words, and `;` between what has several."""
    found = (place.strip().partition("/") for place in places.split(";"))
    return Country(
        code,
        currency,
        price_percent,
        zoneinfo,
        locales=tuple(locales.split()),
        phones=tuple(phones.split()),
        given=tuple(given.split()),
        family=tuple(family.split()),
        places=tuple((postal_code, locality) for postal_code, _, locality in found),
        streets=tuple(street.strip() for street in streets.split(";")),
    )


COUNTRIES = (
    _country(
        "DE", "EUR", 100, "Europe/Berlin", "de-DE",
        phones="+493023125{:03d} +494066969{:03d} +496990009{:03d} +492214710{:03d} +498999998{:03d}",
        given="Anna Ben Clara David Emre Frieda Greta Hannes Ilse Jonas Katja Lukas Mehmet Nina Otto Petra",
        family="Albrecht Bauer Demir Fischer Hoffmann Krüger Lehmann Öztürk Schäfer Vogel",
        places="10117/Berlin; 20095/Hamburg; 50667/Köln; 80331/München; 04109/Leipzig",
        streets="Gartenstraße; Lindenallee; Am Markt; Goethestraße; Bahnhofstraße",
    ),
    _country(
        "AT", "EUR", 100, "Europe/Vienna", "de-AT",
        given="Elisabeth Florian Johanna Maximilian Theresa Valentin",
        family="Gruber Huber Moser Pichler Steiner",
        places="1010/Wien; 8010/Graz; 5020/Salzburg",
        streets="Hauptplatz; Ringstraße; Kirchengasse",
    ),
    _country(
        "FR", "EUR", 100, "Europe/Paris", "fr-FR",
        phones="+33199001{:03d} +33261911{:03d} +33353011{:03d} +33465711{:03d}",
        given="Amélie Bastien Chloé Didier Élise François Hélène Julien Manon Yasmine",
        family="Bernard Dubois Fontaine Lefèvre Moreau N'Diaye Rousseau",
        places="75011/Paris; 69002/Lyon; 13001/Marseille; 31000/Toulouse",
        streets="rue des Lilas; avenue Victor Hugo; place du Marché; rue de la Gare",
    ),
    _country(
        "GB", "GBP", 86, "Europe/London", "en-GB",
        phones="+442079460{:03d} +441614960{:03d} +441314960{:03d} +442920180{:03d}",
        given="Aisha Charlotte Dylan Eleanor Gareth Imogen Jack Poppy Rhys Zara",
        family="Baker Davies Evans Khan MacDonald O'Neill Patel Whitfield",
        places="SW1A 1AA/London; M1 1AE/Manchester; CF10 1EP/Cardiff; EH1 1YZ/Edinburgh",
        streets="High Street; Church Lane; Station Road; Mill Lane",
    ),
    _country(
        "US", "USD", 110, "America/New_York", "en-US es-US",
        phones="+121255501{:02d} +161755501{:02d} +121555501{:02d} +120255501{:02d}",
        given="Alice Carlos Denise Ethan Grace Hiram Jamal Luz Olivia Wei",
        family="Anderson Brooks Chen Garcia Johnson Nguyen Rivera Washington",
        places="10001/New York; 02108/Boston; 19103/Philadelphia; 20001/Washington",
        streets="Maple Avenue; Oak Street; Second Street; Elm Drive",
    ),
    _country(
        "SE", "SEK", 1130, "Europe/Stockholm", "sv-SE",
        phones="+468465004{:02d} +463139006{:02d} +464062804{:02d}",
        given="Alma Björn Ebba Gustav Linnéa Åke",
        family="Andersson Lindqvist Nyström Öberg",
        places="111 20/Stockholm; 411 03/Göteborg; 211 20/Malmö",
        streets="Storgatan; Drottninggatan; Skolvägen",
    ),
    _country(
        "JP", "JPY", 160, "Asia/Tokyo", "ja-JP",
        given="葵 陽翔 結衣 大輔 美咲",
        family="佐藤 鈴木 高橋 田中",
        places="100-0001/東京都千代田区; 530-0001/大阪市北区",
        streets="丸の内1丁目; 梅田2丁目; 銀座4丁目",
    ),
)  # fmt: skip
# In which shares they come.
WEIGHTS = (40, 8, 14, 14, 14, 6, 4)
_MAIL_HOSTS = ("example.com", "example.org", "example.net")


class Person(NamedTuple):
    """One customer of the population."""

    number: int
    country: Country
    given_name: str
    family_name: str
    birthdate: str
    email: str
    phone: str | None
    address: dict[str, Any]
    locale: str
    tier: str | None

    @property
    def subject(self) -> str:
        """`crm:5001`."""
        return f"crm:{self.number}"

    def identifiers(
        self, *, email_verified: bool = False, phone_verified: bool = False
    ) -> list[dict[str, Any]]:
        """What an event states that this person is known by."""
        stated: list[dict[str, Any]] = [{"type": "email", "value": self.email, "verified": email_verified}]
        if self.phone is not None:
            stated.append({"type": "phone", "value": self.phone, "verified": phone_verified})
        return stated


def person(seed: int, number: int) -> Person:
    """The person with this number, in the population of this seed."""
    rng = Random(f"{seed}/person/{number}")
    country = rng.choices(COUNTRIES, WEIGHTS)[0]
    given, family = rng.choice(country.given), rng.choice(country.family)
    mailbox = _plain(f"{given}.{family}")
    return Person(
        number=number,
        country=country,
        given_name=given,
        family_name=family,
        birthdate=f"{rng.randint(1938, 2006)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        email=f"{mailbox}{number}@{rng.choice(_MAIL_HOSTS)}",
        phone=_shared_phone(number) or _phone(rng, country),
        address=address(rng, country),
        locale=rng.choices(country.locales, range(len(country.locales), 0, -1))[0],
        tier=rng.choices(("gold", "silver", "bronze", None), (8, 20, 30, 42))[0],
    )


def address(rng: Random, country: Country, use: str = "billing") -> dict[str, Any]:
    """An address in that country."""
    postal_code, locality = rng.choice(country.places)
    street, house = rng.choice(country.streets), rng.randint(1, 180)
    number_first = country.code in ("GB", "US", "FR")
    return {
        "use": use,
        "street_address": f"{house} {street}" if number_first else f"{street} {house}",
        "postal_code": postal_code,
        "locality": locality,
        "country": country.code,
    }


def _plain(name: str) -> str:
    """The name as a mailbox may be called: `francois.lefevre`."""
    letters = (
        unicodedata.normalize("NFKD", name.lower().replace("ß", "ss")).encode("ascii", "ignore").decode()
    )
    return "".join(letter for letter in letters if letter.isalnum() or letter == ".").strip(".") or "kokyaku"


def _shared_phone(number: int) -> str | None:
    """In every hundred people, three live behind one phone, and seven work behind the number of one office.

    Seven are more than an identifier may stand for without being taken for shared (`shared_above`, 5).
    """
    hundred, place = divmod(number - FIRST_NUMBER, 100)
    if place in range(40, 43):
        return f"+494066969{hundred % 1000:03d}"
    return f"+496990009{hundred % 1000:03d}" if place in range(60, 67) else None


def _phone(rng: Random, country: Country) -> str | None:
    """A number reserved for fiction; there are few of them, so some people share one, as households do."""
    if not country.phones or rng.random() < 0.12:
        return None
    form = rng.choice(country.phones)
    return form.format(rng.randrange(100 if "{:02d}" in form else 1000))
