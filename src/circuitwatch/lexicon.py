"""The words and sentence patterns that tasks, head roles and the nano corpus share; data, and the
rule for what training holds out.

Words stand without their leading space. Where a list has a nano subset, it is the first so many
entries: the nano vocabulary is closed and small, while a large tokenizer uses every word that it
has as one token. Patterns are for evaluation only; the nano corpus has patterns of its own.
"""

from __future__ import annotations

import zlib
from itertools import chain

FEMALE_NAMES = (
    "Mary Anna Lucy Emma Kate Alice Jane Sarah Laura Julia Emily Rose Grace Ruth Helen Susan "
    "Linda Karen Lisa Amy "
    "Rachel Diana Maria Claire Judy Jessica Jennifer Elizabeth Michelle Nancy Amanda Melissa "
    "Rebecca Nicole "
    "Sandra Donna Carol Patricia Barbara Margaret Dorothy Ashley Kimberly Angela Christine "
    "Victoria Samantha "
    "Katherine Olivia Sophia Hannah Megan Lauren Alexandra Heather Martha Ellen Joan Anne "
    "Julie Sally Wendy Molly "
    "Eva Sara Monica Natalie Vanessa Sophie Charlotte Eleanor Jill Kelly Holly Amber Crystal "
    "Veronica Teresa"
).split()
MALE_NAMES = (
    "John Tom James Paul Mark Jack David Peter Adam Simon Robert Henry George Frank Daniel "
    "Kevin Brian Eric Ryan "
    "Luke Sam Ben Michael Steven William Richard Joseph Thomas Charles Christopher Matthew "
    "Anthony Donald Joshua "
    "Kenneth Edward Ronald Timothy Jason Jeffrey Jacob Gary Nicholas Jonathan Stephen Larry "
    "Justin Scott Brandon "
    "Benjamin Samuel Gregory Patrick Alexander Dennis Jerry Tyler Aaron Nathan Douglas "
    "Zachary Kyle Walter Harold "
    "Carl Arthur Roger Keith Jeremy Lawrence Sean Christian Albert Joe Ethan Austin Jesse "
    "Bruce Andrew Greg Fred"
).split()
NANO_NAMES = 16
"""Names of each gender in the nano vocabulary."""

PLACES = (
    "store park school office garden station market library kitchen beach restaurant "
    "hospital house church river "
    "hotel museum theater bridge village"
).split()
NANO_PLACES = 16
OBJECTS = (
    "drink book ring basketball kiss letter box ball key hat bag gift coin map cup pen "
    "computer snack necklace ticket"
).split()
NANO_OBJECTS = 16

EVENTS = (
    "war siege reign plan project voyage dispute struggle crisis rebellion trial tour strike "
    "famine drought "
    "expedition campaign festival treaty journey construction occupation conflict investigation"
).split()
NANO_EVENTS = 16
CENTURIES = tuple(range(11, 18))
"""First two digits of a year."""

ADJECTIVES = "good great bad fine nice kind".split()
ROLES = "cook friend teacher doctor singer writer dancer player leader worker".split()

NOUNS = (
    ("cat", "cats"), ("dog", "dogs"), ("boy", "boys"), ("girl", "girls"), ("king", "kings"),
    ("farmer", "farmers"), ("teacher", "teachers"),
    ("doctor", "doctors"), ("author", "authors"), ("pilot", "pilots"), ("guard", "guards"),
    ("student", "students"), ("lawyer", "lawyers"),
    ("driver", "drivers"), ("sister", "sisters"), ("brother", "brothers"), ("friend", "friends"),
    ("banker", "bankers"), ("writer", "writers"),
    ("actor", "actors"), ("manager", "managers"), ("officer", "officers"), ("soldier", "soldiers"),
    ("artist", "artists"), ("worker", "workers"),
    ("customer", "customers"), ("parent", "parents"), ("player", "players"),
    ("neighbor", "neighbors"), ("singer", "singers"),
    ("scientist", "scientists"), ("judge", "judges"), ("leader", "leaders"), ("member", "members"),
    ("engineer", "engineers"),
)  # fmt: skip
NANO_NOUNS = 18
VERBS = (
    ("is", "are"), ("runs", "run"), ("walks", "walk"), ("sings", "sing"), ("sleeps", "sleep"),
    ("works", "work"), ("plays", "play"),
    ("reads", "read"), ("waits", "wait"), ("laughs", "laugh"), ("swims", "swim"),
    ("jumps", "jump"), ("speaks", "speak"), ("eats", "eat"),
    ("was", "were"), ("has", "have"), ("does", "do"), ("goes", "go"), ("likes", "like"),
    ("knows", "know"), ("wants", "want"),
    ("makes", "make"), ("takes", "take"), ("lives", "live"), ("says", "say"), ("thinks", "think"),
    ("needs", "need"), ("gives", "give"),
    ("comes", "come"), ("sees", "see"), ("looks", "look"), ("seems", "seem"), ("writes", "write"),
    ("stands", "stand"), ("moves", "move"),
)  # fmt: skip
"""Third person singular and plural, present unless the verb is `to be`."""
NANO_VERBS = 14
PAST_VERBS = "liked saw knew helped called followed".split()
"""Verbs of relative clauses, in the past so that they do not give the number away."""

SUCCESSIONS = {
    "days": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "months": "January February March April May June July August September October November "
    "December".split(),
    "numbers": [str(number) for number in range(1, 13)],
    "number_words": "one two three four five six seven eight nine ten eleven twelve".split(),
    "letters": list("ABCDEFGHIJKL"),
    "ordinals": "first second third fourth fifth sixth seventh eighth ninth tenth".split(),
}
"""Ordered lists, for successor heads."""
CYCLIC_SUCCESSIONS = frozenset({"days", "months"})
"""Lists whose last item is followed by the first."""

IOI_PATTERNS = (
    "Then, {first} and {second} went to the {place}. {subject} gave a {object} to",
    "When {first} and {second} got a {object} at the {place}, {subject} decided to give it to",
    "After {first} and {second} went to the {place}, {subject} gave a {object} to",
    "While {first} and {second} were working at the {place}, {subject} gave a {object} to",
    "Then, {first} and {second} had a long talk at the {place}, and {subject} handed a {object} to",
    "The friends {first} and {second} found a {object} at the {place}. {subject} gave it to",
    "The {place} was quiet when {first} and {second} arrived, so {subject} passed a {object} to",
    "One day {first} and {second} were at the {place} and {subject} sold a {object} to",
)
GREATER_THAN_PATTERNS = (
    "The {event} lasted from the year {year} to the year {century}",
    "The {event} went on from the year {year} until the year {century}",
)
PRONOUN_PATTERNS = (
    "So {name} is such a {adjective} {role}, isn't",
    "Well, {name} is a very {adjective} {role}, isn't",
)
AGREEMENT_PATTERNS = {
    "simple": "The {adjective} {subject}",
    "prepositional phrase": "The {subject} near the {other}",
    "subject relative clause": "The {subject} that {past} the {other}",
    "object relative clause": "The {subject} that the {other} {past}",
    "sentential complement": "The {other} said the {subject}",
    "verb phrase coordination": "The {subject} {verb} and",
}


def held_out(*parts: str) -> bool:
    """Whether a combination is kept from the nano corpus and used for evaluation: one in four, by a
    stable hash of its parts in order.
    """
    return zlib.crc32("|".join(parts).encode()) % 4 == 0


def held_out_pair(a: str, b: str) -> bool:
    """`held_out` of two names whatever their order."""
    return held_out(*sorted((a, b)))


def nano_names() -> list[str]:
    """The names in the nano vocabulary, female ones first."""
    return [*FEMALE_NAMES[:NANO_NAMES], *MALE_NAMES[:NANO_NAMES]]


def nano_words() -> list[str]:
    """Every word of the nano vocabulary that texts use inside a sentence, without the words of the
    corpus' own patterns.
    """
    words = [
        *nano_names(), *PLACES[:NANO_PLACES], *OBJECTS[:NANO_OBJECTS], *EVENTS[:NANO_EVENTS],
        *ADJECTIVES, *ROLES,
        *chain.from_iterable(NOUNS[:NANO_NOUNS]), *chain.from_iterable(VERBS[:NANO_VERBS]),
        *PAST_VERBS,
        *chain.from_iterable(SUCCESSIONS.values()), "she", "he",
        *(f"{century}{year:02}" for century in CENTURIES for year in range(100)),
    ]  # fmt: skip
    return list(dict.fromkeys(words))


def evaluation_patterns() -> list[str]:
    """All sentence patterns above."""
    return [*IOI_PATTERNS, *GREATER_THAN_PATTERNS, *PRONOUN_PATTERNS, *AGREEMENT_PATTERNS.values()]
