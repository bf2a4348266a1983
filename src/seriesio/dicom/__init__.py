"""DICOM, pure and synchronous: no await, no files, no network."""
