"""Unlike Django's English formats in every separator and order."""

DATE_FORMAT = "Y/m/d"
TIME_FORMAT = "H.i"
DATETIME_FORMAT = "Y/m/d H.i"
THOUSAND_SEPARATOR = "_"
NUMBER_GROUPING = 3
