"""Who makes a request: principals, their roles and rooms, and how their credentials are verified.

`principal` and `keys` are values and decisions without I/O; `chain` has the verifiers that the settings
choose.
"""
