"""Reporting checklists of published guidelines, filled in from what a run has recorded; one YAML file per guideline."""
