"""Identity of callers: principals, their roles and rooms, and the verification of credentials.

`principal` and `keys` are values and decisions without I/O; `chain` has the verifiers that the settings
choose.
"""
