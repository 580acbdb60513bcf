"""Decoding of files to pixels: PNG, JPEG, DICOM, NIfTI and volumes, by several processes and with a cache."""
