"""`manage.py flags`: a verb a file, thin over the functions that the admin uses too."""
