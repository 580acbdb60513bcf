"""Cross-validation: one run for each fold, and what their predictions for all samples show together."""
