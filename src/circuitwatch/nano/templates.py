"""Sentence patterns of the nano corpus: the families of the tasks' prompts, in other words than the
evaluation patterns.

`{A}` and `{B}` are two names, `{S}` the one of them that acts and `{R}` the other. Patterns joined
at random are written as openings and closings. Every word of the lexicon's evaluation patterns
occurs here in another surrounding, so that all of them are trained.
"""

from __future__ import annotations

from itertools import chain

from circuitwatch import lexicon

IOI_OPENINGS = (
    "When {A} and {B} went to the {place},",
    "When {A} and {B} arrived at the {place},",
    "Then, {A} and {B} were at the {place}.",
    "Then, {A} and {B} found a {other_object}, and",
    "After {A} and {B} had a talk,",
    "After {A} and {B} found the {place},",
    "While {A} and {B} were at the {place},",
    "While {A} and {B} had a long day,",
    "One day {A} and {B} went home and",
    "One day {A} and {B} got to the {place}, so",
    "The friends {A} and {B} went to the {place}.",
    "The friends {A} and {B} were working, so",
    "The {place} was quiet while {A} and {B} were working.",
    "The day was long when {A} and {B} arrived. Then",
    "{A} and {B} met at the {place}, and",
    "{A} met {B} at the {place}.",
    "{A} and {B} met.",
    "{A} saw {B} and",
    "Today {A} got to the {place} with {B}, so",
    "Well, {A} and {B} had a long talk.",
)
IOI_CLOSINGS = (
    "{S} gave a {object} to {R}.",
    "{S} gave the {object} to {R}.",
    "{S} handed a {object} to {R}.",
    "{S} passed the {object} to {R}.",
    "{S} sold a {object} to {R}.",
    "{S} got a {object} and gave it to {R}.",
    "{S} found a {object} and handed it to {R}.",
    "{S} decided to give a {object} to {R}.",
    "{S} decided to give it to {R}.",
    "{S} said hello to {R}.",
    "{S} talked to {R}.",
    "{S} went to {R}.",
)
SHORT_OPENINGS = (
    "{A} and {B} met.",
    "{A} met {B}.",
    "{A} saw {B} and",
    "{A} and {B} talked.",
    "{A} helped {B}.",
    "{A} and {B} went home.",
)
SHORT_CLOSINGS = (
    "{S} called {R}.",
    "{S} said hello to {R}.",
    "{S} talked to {R}.",
    "{S} saw {R}.",
    "{S} gave it to {R}.",
    "{S} decided to give it to {R}.",
    "{S} went to {R}.",
)

CONVERSATION = (
    "{A} said hello to {B}. {B} said hello to {A}.",
    "{A} called {B}. Then {B} called {A}.",
    "{A} saw {B}. {B} saw {A}.",
    "{A} helped {B}, so {B} helped {A}.",
    "{A} met {B}. {A} liked {B}. {B} liked {A}.",
    "{A} and {B} talked. {A} and {B} talked again.",
    "{A} knew {B}, and {B} knew {A}.",
    "{A} followed {B} to the {place}. {B} saw {A}.",
    "At the {place} {A} saw {B}. {A} followed {B}.",
    "{A} gave a {object} to {B}. {B} gave it to {A}.",
    "{B} and {A} met again. {A} said hello to {B}.",
    "{A} talked to {B}. {B} talked to {A}. {A} talked to {B}.",
)

PRONOUN = (
    "So {name} is such a {adjective} {role}, isn't {she}?",
    "Today {name} is a {adjective} {role}, isn't {she}?",
    "{name} is a very {adjective} {role}, isn't {she}?",
    "So {name} is a {role}, isn't {she}?",
    "{name} is such a {role}, isn't {she}?",
    "Well, {name} is {adjective}, isn't {she}?",
    "So {name} is very {adjective}, isn't {she}?",
    "Then {name} went home, didn't {she}?",
    "{name} is at the {place}, isn't {she}?",
    "{name} got a {object}, so {she} went home.",
    "When {name} arrived at the {place}, {she} was quiet.",
)

YEARS = (
    "The {event} lasted from the year {century}{from} to the year {century}{to}.",
    "The {event} was from the year {century}{from} to the year {century}{to}.",
    "The {event} went on from {century}{from} to {century}{to}.",
    "The {event} lasted from {century}{from} until {century}{to}.",
    "From the year {century}{from} to the year {century}{to} the {event} went on.",
    "A {event} lasted from the year {century}{from} until the year {century}{to}.",
    "A long {event} went on from the year {century}{from} to the year {century}{to}.",
)

AGREEMENT_SUBJECTS = {
    construction: (
        pattern,
        pattern.replace("The ", "Then the ", 1),
        pattern.replace("The ", "Today the ", 1),
    )
    for construction, pattern in lexicon.AGREEMENT_PATTERNS.items()
}
"""What stands before the verb, in the six constructions of the agreement task; the combinations of
words that it tests are held out.
"""
AGREEMENT_TAILS = (".", " today.", " at the {place}.", " with the {other}.", " again.")
COPULA_TAILS = (" {adjective}.", " very {adjective}.", " at the {place}.")
"""After `is` and `are`."""

SUCCESSION_SEPARATORS = ("", ",", " then")

FILLER = (
    "Good day, {name}!",
    "It was a very good day.",
    "The {object} was at the {place}.",
    "It was such a long talk!",
    "Again it was very quiet.",
    "Then it was quiet again.",
    "It is such a nice {place}.",
    "It is a very nice {object}.",
    "One day it lasted very long.",
    "{name} got the {object} at the {place}.",
)


def texts() -> list[str]:
    """All patterns and parts of patterns, for collecting their words."""
    return [
        *IOI_OPENINGS,
        *IOI_CLOSINGS,
        *SHORT_OPENINGS,
        *SHORT_CLOSINGS,
        *CONVERSATION,
        *PRONOUN,
        *YEARS,
        *chain.from_iterable(AGREEMENT_SUBJECTS.values()),
        *AGREEMENT_TAILS,
        *COPULA_TAILS,
        *SUCCESSION_SEPARATORS,
        *FILLER,
    ]
