"""From files to pixels: PNG, JPEG, DICOM, NIfTI and volumes, decoded in several processes and kept in a cache."""
