"""Whether an adapter is better than what answers now: what is asked, what is measured, what follows from it.

Nothing here computes, stores or looks at a clock. A model is handed in as a `Voice`, and its own opinion of itself is
never asked for.
"""
