"""Names for containers nobody named: an adjective and somebody worth knowing.

Knows:   the words, the form `adjective_surname`, what a name may look like.
Refuses: to know which names are taken; the caller tries again.
"""

from __future__ import annotations

import re
import secrets

from dockerlab.errors import InvalidRequest

_ADJECTIVES = """
    agile amber ample apt atomic avid bold brave breezy bright brisk calm candid careful
    cheerful civil clever cosmic cozy crisp curious daring deft eager earnest easy elegant
    epic fair fancy fearless festive fluent fond frank free fresh friendly gentle glad
    golden graceful grand great happy hardy hearty helpful honest hopeful humble jolly
    joyful keen kind lively loyal lucid lucky mellow merry mighty modest neat nimble noble
    open patient peaceful plucky polite proud quick quiet ready robust serene sharp silent
    smart snappy sound steady stoic sunny swift tender thoughtful tidy tranquil trusty
    upbeat vivid warm wise witty wonderful zealous zen
""".split()  # noqa: SIM905 - words read best as text
_SURNAMES = """
    abel agnesi allen aryabhata babbage bardeen bartik bell berners bohr booth borg bose
    brattain carson carver cerf chandrasekhar clarke cori cray curie darwin dijkstra
    easley eckert einstein elion engelbart euclid euler faraday fermat fermi feynman
    franklin gagarin galileo galois gates gauss germain goldberg goodall gould hamilton
    hawking heisenberg hellman hodgkin hoover hopper hypatia jang jennings jepsen johnson
    joliot kalam kapitsa keller kepler khayyam knuth kowalevski lalande lamarr lamport
    leakey leavitt lehmann lewin lichterman liskov lovelace lumiere maxwell mayer mccarthy
    mcclintock meitner mendel mendeleev mirzakhani montalcini morse moser napier nash
    neumann newton nightingale nobel noether northcutt noyce panini pare pascal pasteur
    payne perlman pike poincare ptolemy raman ramanujan ride ritchie robinson roentgen
    rosalind rubin saha sammet satoshi shannon shaw sinoussi snyder spence stonebraker
    swanson swartz tesla thompson torvalds turing varahamihira volhard wescoff wilbur
    wiles williams wilson wing wright yalow yonath zhukovsky
""".split()  # noqa: SIM905 - words read best as text
_VALID = re.compile(r"^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$")


def generated(attempt: int) -> str:
    """Make up a name; from the second attempt on with a random digit at its end."""
    name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_SURNAMES)}"
    return f"{name}{secrets.randbelow(10)}" if attempt else name


def checked(name: str) -> str:
    """Give back a container name without its leading slash.

    Raises:
        InvalidRequest: it has other characters than Docker allows.
    """
    if not _VALID.match(name):
        raise InvalidRequest(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            hint="Use letters, digits, _ . and -, two characters or more.",
        )
    return name.removeprefix("/")


def new_id() -> str:
    """Make an id of 64 hex digits whose short form does not read as a number."""
    while True:
        fresh = secrets.token_hex(32)
        if not fresh[:12].isdigit():
            return fresh
