"""How long each list of the profile may be, and how much a part remembers: each bound with its reason.

Invariants:
- The profile's models, the projections and the published JSON Schemas take their limits from here only.
- A part keeps `KEPT_PER_SHOWN` times the bound shown, unless docs/profile.md names another figure.
"""

from __future__ import annotations

# Two years of a busy customer, and what one screen scrolls through; it is most of the profile's bytes.
TIMELINE_MAX = 100
# People are known by far fewer; more is a shared desk or a test account, and every one is an index entry.
IDENTIFIERS_MAX = 50
# Each member is a part that an assembly reads: the cost of building one profile grows with it.
SUBJECTS_MAX = 50
# The steps that a company's journey map names; one entry for each.
TOUCHPOINTS_MAX = 50
# Somebody who calls about bills may ask for any open one, so this list is longer than the others.
OPEN_INVOICES_MAX = 50
# Purposes times channels: 5 of one and 10 of the other. Dropping a "no" would be a breach, so there is room.
PERMISSIONS_MAX = 50
# Facts without a field of their own; what everybody has deserves a field instead.
TRAITS_MAX = 50
# What an agent reads before picking up the phone.
COMMENTS_MAX = 5
# One per use (home, billing, delivery…).
ADDRESSES_MAX = 5
# Baskets left behind before the last few no longer tell what the customer wants.
BASKETS_MAX = 5
# Household and company, not a social network.
RELATED_MAX = 5
# Possible matches that the graph offers of one customer: a person goes through them one by one.
RELATED_KEPT = 20
# Identifiers of one customer that link nobody, as its placement names them: four times what a profile shows.
STATUSES_MAX = 200
# Facts remembered of one edge: a part that knows more identifiers than it keeps states them again and again.
EDGE_FACTS_MAX = 64
# Edges that a merge or a split shows as its reason.
EVIDENCE_MAX = 20
# Customers on each side of a merge or a split that its record names, and members of each: a person reads a
# few, a program asks for the rest. Exact counts stand beside them.
MERGE_CUSTOMERS_MAX = 20
MERGE_MEMBERS_MAX = 100
# Kafka's clients take 1 MB, and a record that is refused would hold up the graph for good: a quarter of it is
# beyond doubt, whatever signs the names are of.
MERGE_BYTES_MAX = 256_000
# Of a record of `customer.profiles`, under the 1 MB of Kafka's clients. A profile takes 8 kB; one whose lists
# are all full of the longest names takes more than this.
SNAPSHOT_BYTES_MAX = 900_000
# Every other list: what fits on one screen of an agent's desktop without paging.
LIST_MAX = 20
# More than the profile has lists; a test counts them.
LISTS_MAX = 50
# A text of the summary fits a column of any CRM and call-centre screen (VARCHAR 255).
SUMMARY_TEXT_MAX = 255

# A new entity may push out one that still matters after the merge; twice the bound shown absorbs that.
KEPT_PER_SHOWN = 2
# Retries of a producer arrive close together; 64 identities cost a part about 2 kB (L1).
REPEATS_REMEMBERED = 64
# Records that a part says where to find (L5): nearly every customer's whole life, at about 2 bytes a record.
OFFSETS_REMEMBERED = 1_000
# Failures after the last payment that `failures_in_a_row` can count; collections take over long before.
FAILURES_REMEMBERED = 20
