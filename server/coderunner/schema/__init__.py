"""What goes over the wire and what is read from files, declared once, as models of msgspec.

`types`: the values that fields have. `check`: reads a document by a model, and says what is wrong with it.
All else here are models. Whatever comes from outside is read through `check`, and nowhere by hand.
"""
