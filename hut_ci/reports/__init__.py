"""One file per format, all made from the one document of `json_document.py`; all escaping in `escaping.py`."""
