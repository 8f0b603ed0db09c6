"""Values that parameters choose among, and a rule between two of them."""

import enum


class Country(enum.Enum):
    GERMANY = "de"
    AUSTRIA = "at"
    fr = "fr"


COUNTRIES = [{"value": "de", "label": "Germany"}, {"value": "at", "label": "Austria"}, "fr"]
RULE = {"rule": "gte", "target": "least", "message": "is less than the least"}
