"""The page on which a person reviews a detection; it needs no torch and reads no exposure."""
