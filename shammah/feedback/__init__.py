"""What the user thinks of a reply, turned into what training may learn from it.

    levels     the three ratings, their other names and weights
    lessons    the one rule: which reply is a target, which is a rejected one, and when there is no target yet
    notes      what a note is: a rule or a remark; rules that contradict each other; where the model is given rules
    wording    the words by which notes are told apart
    rewriting  asking the model for a better reply, and the checks that a rewrite must pass
    secrets    finding and redacting what must not be stored
    passwords  telling a password from the words around it
    quality    a score for every turn, with its parts
    formats    examples as rows of other people's files, and back
    row_writing  the writing half of formats
    transfer   whole files in and out, with a report
    desk       where all of it meets the store

It knows the store, and the model only as something that is handed in; nothing of screens.
"""
