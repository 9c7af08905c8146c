"""Words that exports write for nothing, true and false; the same in uploads and in labels."""

from __future__ import annotations

# What exports write for "nothing". One that stands among a category's own values is that value.
NULL_WORDS = ("", "null", "NULL", "Null", "NA", "N/A", "n/a", "NaN", "nan", "None", "none", "\\N")
TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0")
