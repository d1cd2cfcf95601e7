"""Adapters as folders on a shelf: what training hands on and the chat takes up.

    manifest     what an adapter is and what it came from
    bundle       one folder: written whole or not at all, read, verified
    card         its README
    peft_config  which of peft's settings an adapter may have
    shelf        all that there are, and the one that is meant
    shelf_index  what a list says of many, read in one go

Each is a standard PEFT folder. Nothing here computes.
"""
