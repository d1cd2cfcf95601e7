"""Which adapter answers, which are kept, and how they come and go.

    roster      all adapters of a home, each with its state and what is known of it
    activation  one is taken into use, put aside, gone back from
    live        the chat that runs follows the one in use
    probation   a new one that is rated worse is taken back
    shelving    put away, fetched back, deleted, named, pinned, tagged
    moving      folder and rows change together, whenever the program is killed
    retention   which of them stay
    importing   folders from elsewhere
    exporting   folders and files for other programs

It joins the folders of adapters with the rows of the store. Nothing here computes by itself.
"""
