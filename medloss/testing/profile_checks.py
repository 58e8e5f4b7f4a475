"""What is demanded of a definition that is on offer as a file."""

from __future__ import annotations

from medloss.evaluation.planning import Definition, Settings
from medloss.evaluation.profiles.reading import read_profile
from medloss.evaluation.settings import InputSettings
from medloss.offers.records import Profile
from medloss.testing.registry import ContractSubject, contract, demand


class ProfileSubject(ContractSubject[Profile]):
    """A profile on offer."""


@contract("profile", excusable=False)
def file_is_what_the_record_says(subject: ProfileSubject) -> None:
    """The file is a profile, with the name and the summary of its record.

    A user types the name of the record and results bear that of the file.
    """
    profile, record = read_profile(subject.offer.full_name), subject.record
    demand(profile.name == record.name, f"the file is called {profile.name!r}")
    demand(profile.summary == record.summary, f"its summary is {profile.summary!r}")


@contract("profile", excusable=False)
def every_variant_can_be_planned(subject: ProfileSubject) -> None:
    """Alone and with each of its variants, its metrics are there and take their options."""
    name = subject.offer.full_name
    for variant in ("", *(each for each, _ in read_profile(name).variants)):
        asked = f"{name}:{variant}" if variant else name
        try:
            Settings.of(InputSettings(), Definition(profile=asked)).plan()
        except ValueError as error:
            demand(False, f"{asked}: {error}")
