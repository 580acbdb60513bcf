"""Pages for a browser: their templates and style, and the page of a run; each is one file that needs no network.

Other rooms fill the templates with what they know: ``comparing`` that of a comparison, ``studies`` that of a study.
"""
