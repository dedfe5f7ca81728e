"""msgspec models of all external data: protocol messages, agents' reports, stored records, files, settings.

`types`: constrained types for fields. `check`: validates documents against a model and explains what is
wrong. The other modules hold models, and `write` generates documents and code from them. External data is
always read by a model, so that no other module validates by hand.
"""
