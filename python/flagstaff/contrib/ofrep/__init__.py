"""The OpenFeature Remote Evaluation Protocol (OFREP): evaluations over HTTP for OpenFeature's SDKs.

For browsers with the session of a user, and for services with a key of OFREP_KEYS. An app: add
"flagstaff.contrib.ofrep" to INSTALLED_APPS, and include its URLs:
`path("", include("flagstaff.contrib.ofrep.urls"))`.
"""
